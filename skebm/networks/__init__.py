"""Floor 1: the nets that energies and generators are made of."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from skebm.networks._embeddings import FourierEmbedding, PeriodicEmbedding
from skebm.networks._generator import GeneratorMLP
from skebm.networks._mlp import MLP, ResidualMLP
from skebm.networks._model import EnergyModel

__all__ = [
    "MLP",
    "NETWORKS",
    "EnergyModel",
    "FourierEmbedding",
    "GeneratorMLP",
    "PeriodicEmbedding",
    "ResidualMLP",
]

#: A name for each net that can be built as ``builder(n_features, n_outputs)``.
NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "mlp": MLP,
    "resmlp": ResidualMLP,
}
