"""Floor 1: the nets that energies and generators are made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from skebm.networks._embeddings import (
    FourierEmbedding,
    PeriodicEmbedding,
    WaveEmbedding,
)
from skebm.networks._ensemble import EnsembleMLP
from skebm.networks._generator import GeneratorMLP
from skebm.networks._mlp import MLP, ResidualMLP
from skebm.networks._model import EnergyModel

__all__ = [
    "MLP",
    "NETWORKS",
    "EnergyModel",
    "EnsembleMLP",
    "FourierEmbedding",
    "GeneratorMLP",
    "PeriodicEmbedding",
    "ResidualMLP",
    "WaveEmbedding",
]

#: A name for each net that can be built as ``builder(n_features, n_outputs)``.
NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "ensemble_mlp": EnsembleMLP,
    "fourier_mlp": partial(MLP, hidden_features=(64, 64), embedding="fourier"),
    "mlp": MLP,
    "periodic_mlp": partial(MLP, hidden_features=(64, 64), embedding="periodic"),
    "resmlp": ResidualMLP,
    "wave_mlp": partial(MLP, hidden_features=(64, 64), embedding="waves"),
}
