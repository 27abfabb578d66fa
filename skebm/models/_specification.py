"""From options to parts: each name, class or instance is resolved once, here."""

from __future__ import annotations

import copy

import torch
from sklearn.base import clone
from torch import nn

from skebm.evaluation import NORMALIZERS, AbstractNormalizer
from skebm.networks import NETWORKS, is_normalized
from skebm.objectives import OBJECTIVES, Joint, Objective
from skebm.references import REFERENCES, EstimatorReference, Reference


def _resolve(option, value, known, kind):
    """Return an instance for a name of ``known`` or a clone of an instance of kind."""
    if isinstance(value, kind):
        return clone(value)
    if isinstance(value, (str, type(None))) and value in known:
        return known[value]()
    names = sorted(map(repr, known))
    raise ValueError(
        f"The {option!r} parameter must be one of {{{', '.join(names)}}} or an instance"
        f" of {kind.__name__}. Got {value!r} instead."
    )


def resolve_objective(objective):
    """Return a fresh objective; None stays None."""
    if objective is None:
        return None
    resolved = _resolve("objective", objective, OBJECTIVES, Objective)
    resolved.check_options()
    return resolved


def resolve_reference(reference):
    """Return a fresh recipe for the reference density."""
    if hasattr(reference, "score_samples"):
        reference = EstimatorReference(reference)
        reference.check_options()
        return reference  # a clone would not be fitted
    resolved = _resolve("reference", reference, REFERENCES, Reference)
    resolved.check_options()
    return resolved


def resolve_normalizer(normalizer):
    """Return a fresh normaliser; None stays None."""
    if normalizer is None:
        return None
    resolved = _resolve("normalizer", normalizer, NORMALIZERS, AbstractNormalizer)
    resolved.check_options()
    return resolved


def resolve_network(network):
    """Return the builder of the net that ``network`` names or is.

    Raises
    ------
    ValueError
        Where the name is unknown or a built net is given where a builder is needed.
    """
    if isinstance(network, nn.Module):
        raise ValueError(
            "The 'network' parameter must be a name, a class or a builder "
            "(n_features, n_outputs) -> nn.Module, so that each fit starts afresh. Got "
            f"a built {type(network).__name__} instead; pass for example "
            "functools.partial(MLP, hidden_features=(64, 64))."
        )
    if isinstance(network, str) and network in NETWORKS:
        network = NETWORKS[network]
    if not callable(network):
        names = sorted(map(repr, NETWORKS))
        raise ValueError(
            f"The 'network' parameter must be one of {{{', '.join(names)}}}, a class or"
            f" a builder (n_features, n_outputs) -> nn.Module. Got {network!r} instead."
        )
    return network


def build_network(network, n_features, n_outputs):
    """Return the net that ``network`` names or builds, checked for its shape.

    Raises
    ------
    ValueError
        As in `resolve_network`, or where the net doesn't map (n, n_features) to
        (n, n_outputs).
    """
    built = resolve_network(network)(n_features, n_outputs)
    if not isinstance(built, nn.Module):
        raise ValueError(
            f"The 'network' builder must return an nn.Module. Got {built!r} instead."
        )
    built = built.float()  # as rows are, whatever torch's default is
    with torch.no_grad():
        shape = tuple(built(torch.zeros(2, n_features).float()).shape)
    if shape != (2, n_outputs):
        raise ValueError(
            f"The 'network' must map rows of shape (n, {n_features}) to outputs of "
            f"shape (n, {n_outputs}). Got outputs of shape {shape} for 2 rows."
        )
    return built


def draws_globally(network, n_features):
    """Tell whether the net, in training, draws from torch's global generator."""
    before = torch.default_generator.get_state()
    with torch.no_grad():
        copy.deepcopy(network).train()(torch.zeros(2, n_features).float())
    return not torch.equal(torch.default_generator.get_state(), before)


def check_options(estimator_name, objective, builder, n_outputs):
    """Check that the parts go together.

    Raises
    ------
    ValueError
        Naming both parties.
    """
    if n_outputs == 1 and objective is None:
        raise ValueError(
            f"{estimator_name} and objective=None don't go together: without an "
            "objective no density is trained. Choose one of "
            f"{sorted(OBJECTIVES)}."
        )
    if isinstance(objective, Joint):
        raise ValueError(
            f"{estimator_name} and objective Joint don't go together: JEMClassifier "
            "builds its Joint from its own weights. Pass the density's objective, one "
            f"of {sorted(OBJECTIVES)}, an instance or None."
        )
    if n_outputs == 1 and objective.needs_labels:
        raise ValueError(
            f"{estimator_name} and objective {type(objective).__name__} don't go "
            "together: that objective needs labels. Use it in JEMClassifier."
        )
    network = getattr(builder, "func", builder)  # what a functools.partial builds
    if n_outputs > 1 and is_normalized(network):
        raise ValueError(
            f"{estimator_name} and network {network.__name__} don't go together: a "
            "normalised density has one output, not one a class. Choose a network such "
            "as 'ensemble_mlp', or EBMDensityEstimator."
        )
