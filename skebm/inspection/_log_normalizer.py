"""The picture of an estimate of log Z."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from skebm.evaluation import LogNormalizer
from skebm.evaluation.fidelity._table import draw, estimator_name
from skebm.inspection._matplotlib import MODEL, ROWS, one_axes
from skebm.networks import EnergyModel
from skebm.utils import make_generator

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LogWeights:
    r"""Log weights -E of draws of the reference, and of draws of the model.

    .. math:: p(w) = q_0(w) \, e^{w} / Z, \qquad w = -E(x)

    so that the densities of the two meet at log Z. Where they do not overlap, draws of
    the reference say little about Z.

    Attributes
    ----------
    reference, model : ndarray of shape (n,)
        -E in nats.
    """

    reference: Array
    model: Array


def log_weights(estimator: Any, n_samples: int, seed: int) -> LogWeights | None:
    """Return log weights of draws in both directions; None where E is not a net's.

    That is so of the energies of ensembles, of which each has a log Z of its own, and
    of normalised nets.
    """
    network = getattr(estimator, "network_", None)
    reference = getattr(estimator, "reference_", None)
    if network is None or reference is None:
        return None
    objective = getattr(estimator, "objective_", None)
    scale = 1.0 if objective is None else objective.critic_scale
    model = EnergyModel(network, reference, scale)
    if model.is_ensemble or model.is_normalized:
        return None
    parameters = next(iter(network.parameters()), torch.empty(0))
    with torch.no_grad():
        z = reference.sample(n_samples, make_generator(seed, parameters.device))
        forward = -model.energy(z).double().cpu().numpy()
    backward = -estimator.energy(draw(estimator, n_samples, seed))
    return LogWeights(forward[np.isfinite(forward)], np.asarray(backward))


class LogNormalizerDisplay:
    """The estimate of log Z from both directions, with log weights of draws.

    It is recommended to make it by `from_estimator`.

    Parameters
    ----------
    result : skebm.evaluation.LogNormalizer
        The estimate, with its standard error and whether to trust it.
    weights : LogWeights or None, default=None
        -E of draws of the reference and of the model, ``reference`` and ``model``.

    Attributes
    ----------
    ax_ : Axes
        Where it is drawn.
    figure_ : Figure
        Its figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> from skebm.inspection import LogNormalizerDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator(
    ...     reference="gaussian", normalizer="importance", max_iter=2, random_state=0
    ... ).fit(X)
    >>> display = LogNormalizerDisplay.from_estimator(model, n_samples=200)
    >>> display.result.trusted
    True
    """

    def __init__(
        self, result: LogNormalizer, weights: LogWeights | None = None
    ) -> None:
        self.result = result
        self.weights = weights

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        n_samples: int = 2000,
        random_state: int = 0,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the estimate of log Z that a fitted estimator holds.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``normalizer_result_``.
        n_samples : int, default=2000
            Draws of the reference, and of the model, whose log weights are shown, where
            there are such.
        random_state : int, default=0
            Their seed.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Of `plot`.

        Returns
        -------
        display : LogNormalizerDisplay

        Raises
        ------
        ValueError
            Where the estimator has no estimate of log Z (``normalizer=None``).
        """
        result = getattr(estimator, "normalizer_result_", None)
        if not isinstance(result, LogNormalizer):
            raise ValueError(
                f"{estimator_name(estimator)} has no single estimate of log Z to draw: "
                f"normalizer_result_ is {result!r}."
            )
        weights = log_weights(estimator, n_samples, random_state)
        return cls(result, weights).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, bins: int = 50) -> Self:
        """Draw log weights, and the estimates with two standard errors about them.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        bins : int, default=50
            Number of bins of the log weights.

        Returns
        -------
        self : LogNormalizerDisplay
        """
        self.ax_ = one_axes(ax, type(self).__name__, (6.5, 4.0))
        self.figure_ = self.ax_.figure
        if self.weights is not None:
            parts = {
                "-E of draws of the reference": (self.weights.reference, ROWS),
                "-E of draws of the model": (self.weights.model, MODEL),
            }
            together = np.concatenate([x for x, _ in parts.values()])
            edges = np.linspace(*ends(together), bins + 1)
            for label, (x, color) in parts.items():
                # np.histogram divides by the draws inside; all draws count here.
                counts = np.histogram(x, edges)[0] / (len(x) * np.diff(edges))
                self.ax_.stairs(
                    counts, edges, fill=True, color=color, alpha=0.4, label=label
                )
            self.ax_.set_ylabel("density of the draws")
        else:
            self.ax_.set_yticks([])
        for name, value, error, style in estimates(self.result):
            label = f"{name} {value:.3f} ± {2 * error:.3f}"
            self.ax_.axvline(value, color="black", linestyle=style, label=label)
            if math.isfinite(error):
                self.ax_.axvspan(
                    value - 2 * error, value + 2 * error, color="black", alpha=0.15
                )
        self.ax_.set_xlabel("nats")
        self.ax_.set_title("\n".join(textwrap.wrap(verdict(self.result), 70)))
        self.ax_.legend(fontsize="small")
        return self


def estimates(result: LogNormalizer) -> list[tuple[str, float, float, str]]:
    """Return names, values, standard errors and line styles of the estimates."""
    found = [("log Z", result.log_normalizer, result.standard_error, "-")]
    if not math.isnan(result.reverse_log_normalizer):
        error = result.reverse_standard_error
        found.append(("in reverse", result.reverse_log_normalizer, error, "--"))
    return found


def verdict(result: LogNormalizer) -> str:
    """Return a sentence on whether log Z is to be trusted."""
    share = f"{result.effective_sample_size:.0%} of {result.n_samples} draws effective"
    share = "" if not result.n_samples else f", {share}"
    if result.trusted:
        return f"log Z can be trusted ({result.method}{share})"
    return f"log Z can't be trusted: {result.reason}"


def ends(x: Array) -> tuple[float, float]:
    """Return the ends of an axis for log weights, a few far ones left out."""
    low, high = np.quantile(x, [0.002, 0.998])
    margin = 0.05 * (high - low) or 0.5
    return float(low - margin), float(high + margin)
