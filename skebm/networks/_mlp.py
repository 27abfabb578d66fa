"""Multi-layer perceptrons for tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, cast

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm

from skebm.networks._capabilities import Pull
from skebm.networks._embeddings import (
    ColumnEmbedding,
    FourierEmbedding,
    Outputs,
    PeriodicEmbedding,
    WaveEmbedding,
    column_alone,
)
from skebm.networks._pullback import chain
from skebm.utils import (
    InvalidParameterError,
    check_argument,
    check_flag,
    check_sizes,
    is_count,
)
from skebm.utils._documented import documented_like

#: Smooth, since gradient penalties and gradient-based samplers differentiate twice.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


Embedding = ColumnEmbedding | FourierEmbedding | PeriodicEmbedding | WaveEmbedding

EMBEDDINGS: dict[str, Callable[[int], Embedding]] = {
    "columns": ColumnEmbedding,
    "fourier": FourierEmbedding,
    "periodic": PeriodicEmbedding,
    "waves": WaveEmbedding,
}


def make_activation(activation: str) -> nn.Module:
    """Return the activation of that name.

    Raises
    ------
    ValueError
        Where the name is unknown; the message lists the known ones.
    """
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise InvalidParameterError(
            f"The 'activation' parameter must be one of {sorted(ACTIVATIONS)}. Got "
            f"{activation!r} instead."
        )
    return ACTIVATIONS[activation]()


def zero_linear(n_inputs: int, n_outputs: int) -> nn.Linear:
    """Return a linear layer of zeros, with which a model starts at its reference."""
    layer = nn.Linear(n_inputs, n_outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _make_embedding(embedding: str | None, n_features: int) -> tuple[nn.Module, int]:
    if embedding is None:
        return nn.Identity(), n_features
    if not isinstance(embedding, str) or embedding not in EMBEDDINGS:
        raise InvalidParameterError(
            "The 'embedding' parameter must be None or one of "
            f"{sorted(EMBEDDINGS)}. Got {embedding!r} instead."
        )
    module = EMBEDDINGS[embedding](n_features)
    return module, module.out_features


class MLP(nn.Module):
    r"""Multi-layer perceptron with smooth activations.

    .. math:: h_0 = e(x), \quad h_l = \phi(W_l h_{l-1} + b_l), \quad
              f(x) = W_L h_{L-1} + b_L

    Parameters
    ----------
    n_features, n_outputs : int
        Columns in, values out.
    hidden_features : sequence of int, default=(128, 128)
        Width of each hidden layer.
    activation : {"silu", "softplus", "gelu", "tanh"}, default="silu"
        :math:`\phi`.
    embedding : {None, "columns", "fourier", "periodic", "waves"}, default=None
        :math:`e`: the columns as they are, a `ColumnEmbedding`, `FourierEmbedding`,
        `PeriodicEmbedding` or `WaveEmbedding`.
    spectral_norm : bool, default=False
        Divide each weight matrix by its largest singular value, which bounds the
        slope of the energy (Miyato et al., 2018, ICLR). The energy then doesn't start
        flat.

    Examples
    --------
    >>> import torch
    >>> MLP(4, 1, hidden_features=(32,))(torch.zeros(7, 4)).shape
    torch.Size([7, 1])
    """

    has_elementwise_layers: ClassVar[bool] = True

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        hidden_features: Sequence[int] = (128, 128),
        activation: str = "silu",
        embedding: str | None = None,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(self, "hidden_features", hidden_features)
        check_flag(self, "spectral_norm", spectral_norm)
        self.embedding, width = _make_embedding(embedding, n_features)
        layers: list[nn.Module] = []
        for size in hidden_features:
            layers += [nn.Linear(width, size), make_activation(activation)]
            width = size
        if not spectral_norm:
            layers.append(zero_linear(width, n_outputs))
        else:  # zero has no singular value to divide by
            layers.append(nn.Linear(width, n_outputs))
            layers = [
                with_spectral_norm(layer) if isinstance(layer, nn.Linear) else layer
                for layer in layers
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, n_features) to (n, n_outputs)."""
        return self.layers(self.embedding(x))

    def pullback(self, x: Tensor) -> tuple[Tensor, Pull]:
        """Return the outputs, and the map of their slopes to those in x."""
        return chain([self.embedding, self.layers], x)

    def along(self, x: Tensor, j: int) -> Outputs:
        """Return the outputs of rows as a function of values in place of column j.

        Of the first layer only the part that depends on the column is computed anew.
        """
        others = x.clone()
        others[:, j] = 0.0
        is_plain = isinstance(self.embedding, nn.Identity)
        embedding = None if is_plain else cast(Embedding, self.embedding)
        change = column_alone if embedding is None else embedding.along
        numbers, outputs = change(others, j)
        first = cast(nn.Linear, self.layers[0])
        weight = first.weight[:, numbers].mT
        own = others[:, j : j + 1]
        rest = first(self.embedding(others)) - outputs(own)[:, 0] @ weight

        def values(points: Tensor) -> Tensor:
            hidden = rest[:, None] + outputs(points) @ weight
            return self.layers[1:](hidden.flatten(0, 1)).unflatten(0, points.shape)

        return values


@documented_like(MLP)
class ResidualMLP(nn.Module):
    r"""Residual multi-layer perceptron for tables.

    .. math:: h_0 = W_0 e(x) + b_0, \quad
              h_l = h_{l-1} + V_l \phi(W_l \phi(h_{l-1}) + b_l) + c_l, \quad
              f(x) = W_L \phi(h_{L-1}) + b_L

    Parameters
    ----------
    n_features, n_outputs : int
        Columns in, values out.
    width : int, default=128
        Units of each :math:`h_l`.
    n_blocks : int, default=2
        Residual blocks.

    References
    ----------
    Gorishniy, Rubachev, Khrulkov, Babenko. Revisiting Deep Learning Models for Tabular
    Data. NeurIPS 2021.

    Examples
    --------
    >>> import torch
    >>> ResidualMLP(4, 3)(torch.zeros(7, 4)).shape
    torch.Size([7, 3])
    """

    has_elementwise_layers: ClassVar[bool] = True

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        width: int = 128,
        n_blocks: int = 2,
        activation: str = "silu",
        embedding: str | None = None,
    ) -> None:
        super().__init__()
        for name, value in {"width": width, "n_blocks": n_blocks}.items():
            right = is_count(value, 1)
            check_argument(self, name, value, right, "an integer, at least 1")
        self.embedding, n_inputs = _make_embedding(embedding, n_features)
        self.first = nn.Linear(n_inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                make_activation(activation),
                nn.Linear(width, width),
                make_activation(activation),
                nn.Linear(width, width),
            )
            for _ in range(n_blocks)
        )
        self.last = nn.Sequential(
            make_activation(activation), zero_linear(width, n_outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, n_features) to (n, n_outputs)."""
        hidden = self.first(self.embedding(x))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.last(hidden)
