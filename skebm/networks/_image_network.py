"""The base of nets for images: rows of a table are put back into a grid of pixels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from skebm.utils import InvalidParameterError, check_flag, is_count, is_sequence

ImageShape = tuple[int, int, int]
#: Builds a net for images from columns, outputs and ``image_shape``.
ImageBuilder = Callable[..., "ImageNetwork"]

#: Least standard deviation of the pixels of a channel, beside which none is divided.
LEAST_SPREAD = 1e-12


def checked_image_shape(
    image_shape: Sequence[int] | None, n_features: int, owner: str
) -> ImageShape:
    """Return (channels, height, width); without a shape that of a square grey image.

    Parameters
    ----------
    image_shape : sequence of int or None
        The shape that was given.
    n_features : int
        Columns of X.
    owner : str
        Who takes rows as images, for the message.

    Raises
    ------
    ValueError
        Where the shape is none of three positive integers, or has another number of
        pixels than X has columns, or none is given and that number is no square.
    """
    side = math.isqrt(n_features)
    if image_shape is None and side * side == n_features:
        return 1, side, side
    sizes = list(image_shape) if isinstance(image_shape, Iterable) else []
    right = is_sequence(sizes, lambda size: is_count(size, 1))
    shape = tuple(map(int, sizes)) if right else ()
    if len(shape) != 3 or math.prod(shape) != n_features:
        product = f", {math.prod(shape)} numbers" if shape else ""
        raise InvalidParameterError(
            f"The 'image_shape' parameter must be (channels, height, width), whose "
            f"product is the number of columns of X, {n_features}: {owner} takes rows "
            f"as images. Got {image_shape!r}{product}."
        )
    return shape


class ImageNetwork(nn.Module, ABC):
    r"""Base of nets that see rows as images of shape (channels, height, width).

    .. math:: f(z) = g(u), \qquad u_j = (m_j + s_j z_j - \bar m_c) / S_c

    An estimator standardises each pixel by itself, with a mean :math:`m_j` and a scale
    :math:`s_j`. This would tear an image apart, so that the net undoes it: it sees
    pixels in one unit for each channel c, with :math:`\bar m_c` and :math:`S_c` the
    mean and the standard deviation of all its pixels. A pixel that has one value in all
    rows of `fit` has it here as well, whatever the row holds.

    A subclass has `of_images`. Its constructor takes ``n_features``, ``n_outputs`` and
    ``image_shape``, which an estimator passes.

    Parameters
    ----------
    n_features : int
        Columns in: channels times height times width.
    image_shape : tuple of int or None, default=None
        Channels, height, width, in this order of the columns; None takes a square grey
        image.
    channels_last : bool, default=False
        Whether images lie in memory with the channels last, which is quicker on some
        GPUs.

    Examples
    --------
    >>> import torch
    >>> from skebm.networks import ImageNetwork
    >>> class Contrast(ImageNetwork):
    ...     def __init__(self, n_features, n_outputs, image_shape=None):
    ...         super().__init__(n_features, image_shape)
    ...
    ...     def of_images(self, images):
    ...         return images.flatten(1).std(dim=1, keepdim=True)
    >>> Contrast(16, 1)(torch.randn(5, 16)).shape
    torch.Size([5, 1])
    """

    #: Declares the capability: `set_units` is called before training.
    takes_images: ClassVar[bool] = True

    def __init__(
        self,
        n_features: int,
        image_shape: Sequence[int] | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        check_flag(self, "channels_last", channels_last)
        name = f"network {type(self).__name__}"
        self.image_shape = checked_image_shape(image_shape, n_features, name)
        self.channels_last = channels_last
        self.location: Tensor
        self.scale: Tensor
        self.register_buffer("location", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    @torch.no_grad()
    def set_units(self, location: Tensor, scale: Tensor) -> None:
        """Set m and s, by which rows were standardised, both of shape (n_features,).

        A scale of 0 is that of a pixel with one value.
        """
        n_channels = self.image_shape[0]
        m, s = (units.double().reshape(n_channels, -1) for units in (location, scale))
        mean = m.mean(dim=1, keepdim=True)
        variance = (s.square() + (m - mean).square()).mean(dim=1, keepdim=True)
        spread = variance.sqrt().clamp(min=LEAST_SPREAD)
        self.location.copy_(((m - mean) / spread).flatten())
        self.scale.copy_((s / spread).flatten())

    def images(self, z: Tensor) -> Tensor:
        """Return rows (n, n_features) as images u (n, channels, height, width)."""
        images = (self.location + self.scale * z).unflatten(-1, self.image_shape)
        if self.channels_last:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def forward(self, z: Tensor) -> Tensor:
        """Map rows (n, n_features) to (n, n_outputs)."""
        return self.of_images(self.images(z))

    @abstractmethod
    def of_images(self, images: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to (n, n_outputs)."""


def part_of(
    owner: nn.Module, network: ImageBuilder, n_outputs: int, image_shape: ImageShape
) -> ImageNetwork:
    """Return the net that a builder makes, as a part of another net for images.

    Raises
    ------
    ValueError
        Where the builder makes no such net.
    """
    built: Any
    try:
        built = network(math.prod(image_shape), n_outputs, image_shape=image_shape)
    except TypeError as error:
        built = error
    if not isinstance(built, ImageNetwork):
        raise InvalidParameterError(
            f"The 'network' parameter of {type(owner).__name__} must be a class or "
            "builder (n_features, n_outputs, image_shape=...) -> ImageNetwork. Got "
            f"{network!r}, which made {built!r}."
        )
    return built
