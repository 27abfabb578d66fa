"""Nets for energies and generators, and restricted Boltzmann machines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from skebm.networks._capabilities import is_normalized
from skebm.networks._conv import ConvNet, ResNet
from skebm.networks._embeddings import (
    ColumnEmbedding,
    FourierEmbedding,
    PeriodicEmbedding,
    WaveEmbedding,
)
from skebm.networks._energy_model import EnergyModel
from skebm.networks._ensemble import EnsembleMLP
from skebm.networks._generator import GeneratorMLP
from skebm.networks._image_ensemble import ImageEnsemble
from skebm.networks._image_network import ImageNetwork
from skebm.networks._mixture import MixtureOfGaussians
from skebm.networks._mlp import MLP, ResidualMLP
from skebm.networks._multi_scale import MultiScaleNet
from skebm.networks._nice import NICE
from skebm.networks._normalized import NormalizedNetwork
from skebm.networks._ppca import PPCA
from skebm.networks._trees import BoostedTrees
from skebm.networks.boltzmann._deep_belief import DeepBeliefNet, DirectedLayer
from skebm.networks.boltzmann._labeled import LabeledRBM, LabeledUnits
from skebm.networks.boltzmann._rbm import RBM, BernoulliUnits, VisibleUnits
from skebm.networks.boltzmann._tree_units import TreeUnits
from skebm.networks.boltzmann._units import GaussianUnits, SoftmaxUnits

__all__ = [
    "MLP",
    "NETWORKS",
    "NICE",
    "PPCA",
    "RBM",
    "BernoulliUnits",
    "BoostedTrees",
    "ColumnEmbedding",
    "ConvNet",
    "DeepBeliefNet",
    "DirectedLayer",
    "EnergyModel",
    "EnsembleMLP",
    "FourierEmbedding",
    "GaussianUnits",
    "GeneratorMLP",
    "ImageEnsemble",
    "ImageNetwork",
    "LabeledRBM",
    "LabeledUnits",
    "MixtureOfGaussians",
    "MultiScaleNet",
    "NormalizedNetwork",
    "PeriodicEmbedding",
    "ResNet",
    "ResidualMLP",
    "SoftmaxUnits",
    "TreeUnits",
    "VisibleUnits",
    "WaveEmbedding",
    "is_normalized",
]

#: A name for each net that can be built as ``builder(n_features, n_outputs)``.
NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "column_mlp": partial(MLP, embedding="columns"),
    "conv": ConvNet,
    "ensemble_conv": ImageEnsemble,
    "ensemble_mlp": EnsembleMLP,
    "fourier_mlp": partial(MLP, hidden_features=(64, 64), embedding="fourier"),
    "mixture": MixtureOfGaussians,
    "mlp": MLP,
    "multi_scale": MultiScaleNet,
    "nice": NICE,
    "periodic_mlp": partial(MLP, hidden_features=(64, 64), embedding="periodic"),
    "ppca": PPCA,
    "resnet": ResNet,
    "resmlp": ResidualMLP,
    "trees": BoostedTrees,
    "wave_mlp": partial(MLP, hidden_features=(64, 64), embedding="waves"),
}
