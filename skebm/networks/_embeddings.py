"""Embeddings of columns, with which small nets learn narrow peaks and edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from skebm.utils import check_argument, is_count, is_positive

#: Takes values of one column of rows, (n, n_points), to outputs (n, n_points, k).
Outputs = Callable[[Tensor], Tensor]
#: The numbers of those outputs of an embedding that depend on a column, and themselves.
Change = tuple[Tensor, Outputs]


def _numbers(start: int, end: int, like: Tensor) -> Tensor:
    return torch.arange(start, end, device=like.device)


def _joined(parts: Sequence[tuple[int, Change]]) -> Change:
    """Return the changes of parts whose outputs begin at the given numbers."""
    numbers = torch.cat([start + change[0] for start, change in parts])
    return numbers, lambda t: torch.cat([change[1](t) for _, change in parts], dim=2)


class _SineAndCosine(torch.autograd.Function):
    """Both at once: each is the other's slope, which autograd would compute again."""

    generate_vmap_rule = True  # for torch.func

    @staticmethod
    def forward(phase: Tensor) -> tuple[Tensor, Tensor]:
        return phase.sin(), phase.cos()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (sine, cosine), (of_sine, of_cosine) = ctx.saved_tensors, slopes
        return of_sine * cosine - of_cosine * sine


def sine_and_cosine(phase: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sine and the cosine, as often differentiable as they are."""
    result: tuple[Tensor, Tensor] = _SineAndCosine.apply(phase)
    return result


def _differentiable(
    values: Tensor, frequencies: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """Return b + [sin, cos](t c) A of each column, differentiable in all, and twice."""
    sine, cosine = sine_and_cosine(values * frequencies)
    of_sine, of_cosine = weight.chunk(2, dim=1)
    return torch.baddbmm(torch.baddbmm(bias, sine, of_sine), cosine, of_cosine)


def _waves_combined(
    values: Tensor, frequencies: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the same, and the waves: a cosine is a sine, a quarter turn ahead."""
    ahead = torch.zeros_like(weight[:1, :, 0])
    ahead[:, frequencies.shape[2] :] = math.pi / 2
    waves = torch.addcmul(ahead, values, frequencies.repeat(1, 1, 2)).sin_()
    return torch.baddbmm(bias, waves, weight), waves


class _OfParameters(torch.autograd.Function):
    r"""The same, differentiable once, in the parameters alone.

    With slopes g of the outputs, those of A are :math:`[\sin, \cos]^T g`, and those of
    the frequencies follow from :math:`[\sin, \cos]^T (t g)`: one product, where
    autograd has two and several arrays of the waves' size.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, frequencies: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        embedded, waves = _waves_combined(values, frequencies, weight, bias)
        ctx.save_for_backward(values, waves, weight)
        return embedded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        values, waves, weight = ctx.saved_tensors
        products = torch.bmm(waves.mT, torch.cat([slope, values * slope], dim=2))
        of_weight, by_value = products.chunk(2, dim=2)
        (by_sine, by_cosine), (a, b) = by_value.chunk(2, dim=1), weight.chunk(2, dim=1)
        of_frequencies = (a * by_cosine - b * by_sine).sum(dim=2).unsqueeze(1)
        return None, of_frequencies, of_weight, slope.sum(dim=1, keepdim=True)


def column_alone(x: Tensor, j: int) -> Change:
    """Return the change of the columns as they are."""
    return _numbers(j, j + 1, x), lambda points: points[..., None]


def _check_count(owner: nn.Module, name: str, value: object) -> None:
    check_argument(owner, name, value, is_count(value, 1), "an integer, at least 1")


def _check_positive(owner: nn.Module, name: str, value: object) -> None:
    check_argument(owner, name, value, is_positive(value), "a number above 0")


class PeriodicEmbedding(nn.Module):
    r"""Periodic embedding of numerical columns, followed by a linear layer and SiLU.

    .. math:: e_j(x_j) = \mathrm{SiLU}(A_j [\sin(2 \pi c_j x_j),
              \cos(2 \pi c_j x_j)] + b_j), \qquad c_{jl} \sim N(0, \tau^2)

    with learnt frequencies :math:`c_j`, with which a small net can learn densities with
    narrow peaks and edges. The published embedding ends in ReLU; SiLU
    keeps the energy smooth, which gradient penalties and HMC need.

    Parameters
    ----------
    n_features : int
        Number of columns.
    n_frequencies : int, default=16
        Frequencies per column.
    embedding_dim : int, default=8
        Outputs per column.
    frequency_scale : float, default=0.3
        :math:`\tau`, in cycles per standardised unit.

    References
    ----------
    Gorishniy, Rubachev, Babenko. On Embeddings for Numerical Features in Tabular Deep
    Learning. NeurIPS 2022.

    Examples
    --------
    >>> import torch
    >>> PeriodicEmbedding(3)(torch.zeros(5, 3)).shape
    torch.Size([5, 24])
    """

    def __init__(
        self,
        n_features: int,
        n_frequencies: int = 16,
        embedding_dim: int = 8,
        frequency_scale: float = 0.3,
    ) -> None:
        super().__init__()
        _check_count(self, "n_frequencies", n_frequencies)
        _check_count(self, "embedding_dim", embedding_dim)
        _check_positive(self, "frequency_scale", frequency_scale)
        self.out_features = n_features * embedding_dim
        self.frequencies = nn.Parameter(
            frequency_scale * torch.randn(n_features, n_frequencies)
        )
        bound = 1 / math.sqrt(2 * n_frequencies)
        shape = (n_features, 2 * n_frequencies, embedding_dim)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(
            torch.empty(n_features, embedding_dim).uniform_(-bound, bound)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, n_features) to (n, n_features * embedding_dim)."""
        values, frequencies = x.T.unsqueeze(2), 2 * math.pi * self.frequencies
        given = values, frequencies.unsqueeze(1), self.weight, self.bias.unsqueeze(1)
        if not torch.is_grad_enabled():
            embedded, _ = _waves_combined(*given)
        elif x.requires_grad:
            embedded = _differentiable(*given)
        else:
            embedded = _OfParameters.apply(*given)
        return nn.functional.silu(embedded.transpose(0, 1).flatten(1))

    def along(self, x: Tensor, j: int) -> Change:
        """Return which outputs depend on column j, as a function of its values."""
        size = self.bias.shape[1]

        def outputs(points: Tensor) -> Tensor:
            phase = 2 * math.pi * self.frequencies[j] * points[..., None]
            waves = torch.cat([torch.sin(phase), torch.cos(phase)], dim=-1)
            return nn.functional.silu(waves @ self.weight[j] + self.bias[j])

        return _numbers(j * size, (j + 1) * size, x), outputs


class FourierEmbedding(nn.Module):
    r"""Columns joined with sine waves along learnt directions.

    .. math:: e(x) = [x, \sin(W x), \cos(W x)], \qquad
              W_{lj} \sim N(0, \tau^2 / d)

    Unlike `PeriodicEmbedding` the waves see all d columns at once.

    Parameters
    ----------
    n_features : int
        Number of columns, d.
    n_frequencies : int, default=32
        Number of directions.
    frequency_scale : float, default=3.0
        :math:`\tau`, in radians per standardised unit.

    References
    ----------
    Tancik et al. Fourier Features Let Networks Learn High Frequency Functions in Low
    Dimensional Domains. NeurIPS 2020.

    Examples
    --------
    >>> import torch
    >>> FourierEmbedding(3)(torch.zeros(5, 3)).shape
    torch.Size([5, 67])
    """

    def __init__(
        self, n_features: int, n_frequencies: int = 32, frequency_scale: float = 3.0
    ) -> None:
        super().__init__()
        _check_count(self, "n_frequencies", n_frequencies)
        _check_positive(self, "frequency_scale", frequency_scale)
        self.out_features = n_features + 2 * n_frequencies
        scale = frequency_scale / math.sqrt(n_features)
        self.directions = nn.Parameter(scale * torch.randn(n_features, n_frequencies))

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, n_features) to (n, n_features + 2 n_frequencies)."""
        phase = x @ self.directions
        return torch.cat([x, torch.sin(phase), torch.cos(phase)], dim=1)

    def along(self, x: Tensor, j: int) -> Change:
        """Return which outputs depend on column j, as a function of its values."""
        others = x.clone()
        others[:, j] = 0.0
        rest, step = (others @ self.directions)[:, None], self.directions[j]
        own = _numbers(j, j + 1, x)
        waves = _numbers(x.shape[1], self.out_features, x)

        def outputs(points: Tensor) -> Tensor:
            t = points[..., None]
            phase = rest + t * step
            return torch.cat([t, torch.sin(phase), torch.cos(phase)], dim=2)

        return torch.cat([own, waves]), outputs


class WaveEmbedding(nn.Module):
    r"""`PeriodicEmbedding` and `FourierEmbedding` joined with zoomed columns.

    .. math:: e(x) = [\text{periodic}(x), \text{fourier}(x),
              \mathrm{asinh}(x / \delta) / \mathrm{asinh}(1 / \delta)]

    The first represents peaks and edges of single columns, the second those across
    columns; together they were better than either on most tables tried. The third is
    logarithmic beyond :math:`\delta`: most rows of a column with heavy tails lie in a
    small part of its standard deviation (``docs/notes/vera.md``).

    Parameters
    ----------
    n_features : int
        Number of columns.
    resolution : float, default=0.01
        :math:`\delta`, in standardised units.

    Examples
    --------
    >>> import torch
    >>> WaveEmbedding(3)(torch.zeros(5, 3)).shape
    torch.Size([5, 94])
    """

    def __init__(self, n_features: int, resolution: float = 0.01) -> None:
        super().__init__()
        _check_positive(self, "resolution", resolution)
        self.periodic = PeriodicEmbedding(n_features)
        self.fourier = FourierEmbedding(n_features)
        self.resolution = resolution
        waves = self.periodic.out_features + self.fourier.out_features
        self.out_features = waves + n_features

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, n_features) to (n, out_features)."""
        zoomed = zoom(x, self.resolution)
        return torch.cat([self.periodic(x), self.fourier(x), zoomed], dim=1)

    def along(self, x: Tensor, j: int) -> Change:
        """Return which outputs depend on column j, as a function of its values."""
        start, last = self.periodic.out_features, self.out_features - x.shape[1]
        own, _ = column_alone(x, j)
        zoomed = own, lambda t: zoom(t[..., None], self.resolution)
        periodic, fourier = self.periodic.along(x, j), self.fourier.along(x, j)
        return _joined([(0, periodic), (start, fourier), (last, zoomed)])


class ColumnEmbedding(nn.Module):
    r"""`PeriodicEmbedding` joined with the columns and their zoomed values.

    .. math:: e(x) = [\text{periodic}(x), x,
              \mathrm{asinh}(x / \delta) / \mathrm{asinh}(1 / \delta)]

    Each column is embedded by itself; the layers above combine them. On tables it was
    better than waves across columns (`WaveEmbedding`), which overfit to single rows
    (``docs/notes/density.md``).

    Parameters
    ----------
    n_features : int
        Number of columns.
    resolution : float, default=0.01
        :math:`\delta`, in standardised units.

    Examples
    --------
    >>> import torch
    >>> ColumnEmbedding(3)(torch.zeros(5, 3)).shape
    torch.Size([5, 30])
    """

    def __init__(self, n_features: int, resolution: float = 0.01) -> None:
        super().__init__()
        _check_positive(self, "resolution", resolution)
        self.periodic = PeriodicEmbedding(n_features)
        self.resolution = resolution
        self.out_features = self.periodic.out_features + 2 * n_features

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, n_features) to (n, out_features)."""
        return torch.cat([self.periodic(x), x, zoom(x, self.resolution)], dim=1)

    def along(self, x: Tensor, j: int) -> Change:
        """Return which outputs depend on column j, as a function of its values."""
        start, column = self.periodic.out_features, column_alone(x, j)
        zoomed = column[0], lambda t: zoom(t[..., None], self.resolution)
        parts = (self.periodic.along(x, j), column, zoomed)
        starts = (0, start, start + x.shape[1])
        return _joined(list(zip(starts, parts, strict=True)))


def zoom(x: Tensor, resolution: float) -> Tensor:
    """Return x on a scale that is logarithmic beyond the resolution and maps 1 to 1."""
    return torch.asinh(x / resolution) / math.asinh(1 / resolution)
