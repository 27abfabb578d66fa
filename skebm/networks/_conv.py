"""Convolutional nets for images, plain and residual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm

from skebm.networks._image_network import ImageNetwork
from skebm.networks._mlp import make_activation, zero_linear
from skebm.utils import check_argument, check_flag, check_sizes, is_count
from skebm.utils._documented import documented_like

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)

#: Images are halved as long as both sides stay at least so long.
SHORTEST_SIDE = 2


def convolution(n_inputs: int, n_outputs: int, width: int = 3) -> nn.Conv2d:
    """Return a convolution that keeps the size of images; beyond the edge are zeros."""
    layer = nn.Conv2d(n_inputs, n_outputs, width, padding=width // 2)
    return keeping_variance(layer)


def keeping_variance(layer: Layer) -> Layer:
    """Return a layer whose random weights keep the size of what passes through.

    By the fan-in (He et al., 2015, ICCV). With torch's smaller ones little is left of
    an image after some layers, and training begins slowly.
    """
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def half(images: Tensor) -> Tensor:
    """Return the means of each 2 x 2 pixels; at an odd edge of fewer."""
    return nn.functional.avg_pool2d(images, 2, ceil_mode=True, count_include_pad=False)


class Halving(nn.Module):
    """The mean of each 2 x 2 pixels, where an image is large enough to be halved."""

    def forward(self, images: Tensor) -> Tensor:
        """Return images of half the height and width, or the images themselves."""
        if min(images.shape[2:]) < 2 * SHORTEST_SIDE:
            return images
        return half(images)


def bounded(network: nn.Module) -> None:
    """Divide the weights of all layers of a net by their largest singular values."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if not layer.weight.any():  # zero has no singular value to divide by
                layer.reset_parameters()
            with_spectral_norm(layer)


class BodyAndHead(ImageNetwork):
    """A net of convolutions, and of two linear layers above their maps.

    A subclass calls `end_with_head` at the end of its constructor.
    """

    has_elementwise_layers: ClassVar[bool] = True

    def end_with_head(
        self,
        body: nn.Sequential,
        hidden_features: int,
        n_outputs: int,
        activation: str,
        spectral_norm: bool,
    ) -> None:
        """Add the body, and the layers that take its maps to the outputs, 0 at first.

        Raises
        ------
        ValueError
            Where an option of the head is out of its range.
        """
        right = is_count(hidden_features, 1)
        expected = "an integer, at least 1"
        check_argument(self, "hidden_features", hidden_features, right, expected)
        check_flag(self, "spectral_norm", spectral_norm)
        with torch.no_grad():
            n_inputs = body(torch.zeros(1, *self.image_shape).float()).numel()
        self.body = body
        self.head = nn.Sequential(
            nn.Flatten(),
            keeping_variance(nn.Linear(n_inputs, hidden_features)),
            make_activation(activation),
            zero_linear(hidden_features, n_outputs),
        )
        if spectral_norm:
            bounded(self)
        if self.channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def of_images(self, images: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to (n, n_outputs)."""
        return self.head(self.body(images))


class ConvNet(BodyAndHead):
    r"""Convolutional net for images, with smooth activations.

    .. math:: h_0 = u, \quad h_l = P \phi(K_l * h_{l-1} + b_l), \quad
              f(x) = W_2 \phi(W_1 h_L + c_1) + c_2

    with P the mean of 2 x 2 pixels after each layer but the last, as long as images are
    at least 4 pixels high and wide. How rows become images u: see `ImageNetwork`. There
    is no batch normalisation, with which the energy of a row would depend on others.

    Parameters
    ----------
    n_features, n_outputs : int
        Columns in, values out.
    hidden_channels : sequence of int, default=(32, 64, 64)
        Channels of each :math:`h_l`; each K has 3 x 3 pixels.
    hidden_features : int, default=128
        Width of the layer before the last.
    activation : {"silu", "softplus", "gelu", "tanh"}, default="silu"
        :math:`\phi`.
    spectral_norm : bool, default=False
        Divide the weights of each layer, as a matrix, by their largest singular value
        (Miyato et al., 2018, ICLR), which bounds the slope of the energy. The energy
        then doesn't start flat.

    Examples
    --------
    >>> import torch
    >>> ConvNet(64, 1, image_shape=(1, 8, 8))(torch.zeros(7, 64)).shape
    torch.Size([7, 1])
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        image_shape: Sequence[int] | None = None,
        hidden_channels: Sequence[int] = (32, 64, 64),
        hidden_features: int = 128,
        activation: str = "silu",
        spectral_norm: bool = False,
        channels_last: bool = False,
    ) -> None:
        super().__init__(n_features, image_shape, channels_last)
        check_sizes(self, "hidden_channels", hidden_channels)
        layers: list[nn.Module] = []
        width = self.image_shape[0]
        for size in hidden_channels:
            layers += [Halving()] if layers else []
            layers += [convolution(width, size), make_activation(activation)]
            width = size
        options = hidden_features, n_outputs, activation, spectral_norm
        self.end_with_head(nn.Sequential(*layers), *options)


class ResidualBlock(nn.Module):
    r"""Residual block: :math:`h + K_2 * \phi(K_1 * \phi(h))`, on 1 x 1 filtered h."""

    def __init__(self, n_inputs: int, n_outputs: int, activation: str) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            make_activation(activation),
            convolution(n_inputs, n_outputs),
            make_activation(activation),
            convolution(n_outputs, n_outputs),
        )
        same = n_inputs == n_outputs
        self.outer = nn.Identity() if same else convolution(n_inputs, n_outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images of n_inputs channels to such of n_outputs channels."""
        return self.outer(images) + self.inner(images)


@documented_like(ConvNet)
class ResNet(BodyAndHead):
    r"""Residual convolutional net for images, with smooth activations.

    .. math:: h_0 = K_0 * u, \quad
              h_l = P (h_{l-1} + K_{l2} * \phi(K_{l1} * \phi(h_{l-1}))), \quad
              f(x) = W_2 \phi(W_1 \phi(h_L) + c_1) + c_2

    with P the mean of 2 x 2 pixels after each stage but the last, as in `ConvNet`, and
    biases left out here. There is no batch normalisation.

    Parameters
    ----------
    n_features, n_outputs : int
        Columns in, values out.
    hidden_channels : sequence of int, default=(32, 64, 64)
        Channels of each stage.
    n_blocks : int, default=1
        Residual blocks of each stage.

    References
    ----------
    He, Zhang, Ren, Sun. Identity mappings in deep residual networks. ECCV 2016.

    Examples
    --------
    >>> import torch
    >>> ResNet(192, 10, image_shape=(3, 8, 8))(torch.zeros(7, 192)).shape
    torch.Size([7, 10])
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        image_shape: Sequence[int] | None = None,
        hidden_channels: Sequence[int] = (32, 64, 64),
        n_blocks: int = 1,
        hidden_features: int = 128,
        activation: str = "silu",
        spectral_norm: bool = False,
        channels_last: bool = False,
    ) -> None:
        super().__init__(n_features, image_shape, channels_last)
        check_sizes(self, "hidden_channels", hidden_channels)
        right = is_count(n_blocks, 1)
        check_argument(self, "n_blocks", n_blocks, right, "an integer, at least 1")
        width = hidden_channels[0]
        layers: list[nn.Module] = [convolution(self.image_shape[0], width)]
        for stage, size in enumerate(hidden_channels):
            layers += [Halving()] if stage else []
            for _ in range(n_blocks):
                layers.append(ResidualBlock(width, size, activation))
                width = size
        body = nn.Sequential(*layers, make_activation(activation))
        options = hidden_features, n_outputs, activation, spectral_norm
        self.end_with_head(body, *options)
