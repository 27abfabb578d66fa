"""Coarse-to-fine initialisation: a second training from a coarser mixture.

In few columns, what a fine mixture gets wrong, such as sharp edges, is too faint a
signal to start from. From a coarser mixture a net first learns the features that are
easy to see, then those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from skebm.models._specification import Specification
from skebm.models._train import Trained
from skebm.references import Reference
from skebm.training import DensityMonitor

#: Columns up to which a net makes up for what a coarser mixture leaves out.
MAX_COLUMNS = 4
#: Held-out gain over the fine mixture, in nats, that shows that there was a signal.
PLAIN_GAIN = 0.01


def coarse_to_fine(
    specification: Specification,
    first: Trained,
    train_from: Callable[[Reference], Trained],
) -> Trained:
    """Return the better of a trained model and one trained from a coarser reference.

    The second is trained only where tilting the reference gained next to nothing. It is
    returned where it is better on the held-out rows by more than the standard error of
    the difference.

    Parameters
    ----------
    specification : Specification
        The options.
    first : Trained
        Trained from the specification's reference.
    train_from : callable, (Reference) -> Trained
        Trains anew from another reference.
    """
    coarser = specification.reference_for(first.assembly.encoder).coarser()
    if coarser is None or not _may_gain(specification, first):
        return first
    log_prob = _monitor(first).log_prob_unnormalized(first.run.averaged_model)
    second = train_from(coarser)
    monitor = _monitor(second)
    difference = monitor.log_prob_unnormalized(second.run.averaged_model) - log_prob
    standard_error = monitor.standard_error(difference)
    if _log_likelihood(second) - _log_likelihood(first) > standard_error:
        return second
    first.loop.interrupted = second.loop.interrupted
    return first


def _may_gain(specification: Specification, first: Trained) -> bool:
    """Return True where the first training left next to everything to learn."""
    loop = first.loop
    if not specification.coarse_to_fine or loop.monitor is None or loop.interrupted:
        return False
    if first.assembly.n_features > MAX_COLUMNS or first.run.model.is_normalized:
        return False
    monitor = _monitor(first)
    untilted = float((monitor.weight * monitor.reference_score).sum())
    return _log_likelihood(first) < untilted + PLAIN_GAIN


def _monitor(trained: Trained) -> DensityMonitor:
    """Return the monitor of a density's training."""
    return cast(DensityMonitor, trained.loop.monitor)


def _log_likelihood(trained: Trained) -> float:
    """Return the held-out log-likelihood of the state that was kept."""
    assert trained.loop.best is not None
    return trained.loop.best.scores["log_likelihood"]
