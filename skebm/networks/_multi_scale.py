"""The sum of nets that see an image at several resolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from skebm.networks._conv import ConvNet, half
from skebm.networks._image_network import ImageBuilder, ImageNetwork, part_of
from skebm.utils import check_argument, is_count


class MultiScaleNet(ImageNetwork):
    r"""Sum of nets at full, half, quarter ... resolution.

    .. math:: f(x) = \sum_{k=0}^{K-1} f_k(P^k u)

    with P the mean of 2 x 2 pixels. Coarse nets see the whole of an image, fine ones
    its detail. `EBMDensityEstimator.sample` lets the coarse ones act first.

    Parameters
    ----------
    n_features, n_outputs : int
        Columns in, values out.
    image_shape : tuple of int or None, default=None
        Channels, height, width; None takes a square grey image.
    network : class or builder, default=ConvNet
        ``(n_features, n_outputs, image_shape=...) -> ImageNetwork``, of each scale.
    n_scales : int or None, default=None
        K; at the coarsest an image has at least 2 x 2 pixels. None takes 3, or as many
        as there are.

    References
    ----------
    Du, Li, Tenenbaum, Mordatch. Improved contrastive divergence training of
    energy-based models. ICML 2021.

    Examples
    --------
    >>> import torch
    >>> MultiScaleNet(64, 1)(torch.zeros(7, 64)).shape
    torch.Size([7, 1])
    """

    has_elementwise_layers: ClassVar[bool] = True

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        image_shape: Sequence[int] | None = None,
        network: ImageBuilder = ConvNet,
        n_scales: int | None = None,
    ) -> None:
        super().__init__(n_features, image_shape)
        most = 1
        while min(self.image_shape[1:]) > 2**most:
            most += 1
        n_scales = min(3, most) if n_scales is None else n_scales
        right = is_count(n_scales, 1, most)
        side = f"{self.image_shape[1]} x {self.image_shape[2]} pixels"
        expected = f"an integer from 1 to {most} for images of {side}"
        check_argument(self, "n_scales", n_scales, right, expected)
        nets, (channels, height, width) = [], self.image_shape
        for _ in range(n_scales):
            shape = channels, height, width
            nets.append(part_of(self, network, n_outputs, shape))
            height, width = -(-height // 2), -(-width // 2)
        self.nets = nn.ModuleList(nets)
        self.n_outputs = n_outputs

    @property
    def is_sum(self) -> bool:
        """Whether the critic is a sum: one of class logits is not."""
        return self.n_outputs == 1

    def terms(self) -> list[Callable[[Tensor], Tensor]]:
        """Return the nets of each scale as functions of rows, the coarsest first."""
        return [partial(self._term, scale) for scale in range(len(self.nets))[::-1]]

    def _term(self, scale: int, z: Tensor) -> Tensor:
        images = self.images(z)
        for _ in range(scale):
            images = half(images)
        return cast(ImageNetwork, self.nets[scale]).of_images(images)

    def of_images(self, images: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to (n, n_outputs)."""
        return self.by_scale(images).sum(dim=0)

    def by_scale(self, images: Tensor) -> Tensor:
        """Return the outputs of each scale, the finest first: (K, n, n_outputs)."""
        outputs = []
        for scale, net in enumerate(self.nets):
            images = half(images) if scale else images
            outputs.append(cast(ImageNetwork, net).of_images(images))
        return torch.stack(outputs)
