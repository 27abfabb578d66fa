"""Embeddings of single columns."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class PeriodicEmbedding(nn.Module):
    r"""Periodic embedding of numerical columns, followed by a linear layer and SiLU.

    .. math:: e_j(x_j) = \mathrm{SiLU}(A_j [\sin(2 \pi c_j x_j),
              \cos(2 \pi c_j x_j)] + b_j), \qquad c_{jl} \sim N(0, \tau^2)

    with learnt frequencies :math:`c_j`. Columns whose density has narrow peaks and
    edges come within reach of a small net. The published embedding ends in ReLU; SiLU
    keeps the energy smooth, which gradient penalties and HMC need.

    Parameters
    ----------
    n_features : int
        Number of columns.
    n_frequencies : int, default=16
        Frequencies a column.
    embedding_dim : int, default=8
        Outputs a column.
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
        phase = 2 * math.pi * self.frequencies * x.unsqueeze(-1)
        waves = torch.cat([torch.sin(phase), torch.cos(phase)], dim=-1)
        embedded = torch.einsum("njf,jfe->nje", waves, self.weight) + self.bias
        return nn.functional.silu(embedded).flatten(1)
