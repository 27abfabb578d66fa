"""RBMs with a class as one more visible unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from skebm.models._explanation import Explanation
from skebm.models.boltzmann._begin import RBMOptions, begin, trained_rbm
from skebm.models.boltzmann._chains import MIN_CHAINS, annealed_chains
from skebm.models.boltzmann._explanation import explain_values
from skebm.models.boltzmann._fitted import FittedRBM
from skebm.models.boltzmann._metrics import LabelLogProb
from skebm.models.boltzmann._rows import (
    MAX_KEPT_ROWS,
    chunks,
    column_means,
    dense,
    on_chunk,
    some_rows,
    to_tensor,
    total_deviation,
)
from skebm.networks import RBM, LabeledRBM, LabeledUnits
from skebm.objectives import LabeledGradient
from skebm.training import LabeledBatches, RBMAscent
from skebm.utils import make_generator, resolve_device

Array = NDArray[Any]

#: What `n_iter="auto"` aims at, and its bounds in epochs.
AUTO_STEPS, AUTO_EPOCHS = 2000, (5, 400)


class FittedLabeledRBM(FittedRBM):
    """A fitted RBM over rows (v, y), whose last visible unit is the class, one-hot.

    Its calibration is that of p(v, y).
    """

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.units.n_classes

    def split(self, parameters: Array) -> tuple[Array, Array]:
        """Return views of the columns of v and of the classes."""
        return self.units.split(parameters)

    def marginal_free_energy(self, v: Any) -> Array:
        """Return F(v) of complete rows, the class summed out, float64."""
        return self._by_class(LabeledRBM.__call__, v)

    def marginal_log_prob(self, v: Any) -> Array:
        """Return log p(v) of complete rows, in nats."""
        estimate = self.estimate
        level = 0.0 if estimate is None else estimate.log_normalizer
        return -self.marginal_free_energy(v) - level

    def logits(self, v: Any) -> Array:
        """Return log p(y | v) up to a constant a row, shape (n, n_classes)."""
        return self._by_class(lambda rbm, x: rbm.logits(rbm.pull(x)), v)

    def explain(self, v: Any) -> Explanation:
        """Return how strange each entry of complete rows is, the class summed out."""
        labeled = LabeledRBM(self.rbm(np.float64))
        bias = labeled.joint.hidden_bias, labeled.visible_bias

        def pull(field: Tensor) -> Tensor:
            return labeled.logits(field).logsumexp(1)

        return explain_values(RBM(labeled.weight, *bias), dense(v), pull)

    def _described_rows(self) -> Array:
        return self.split(np.concatenate(self.recent_rows))[0]

    def _by_class(
        self, function: Callable[[LabeledRBM, Tensor], Tensor], v: Any
    ) -> Array:
        """Apply a function of the RBM and rows, a chunk at a time."""
        device = resolve_device(self.device)
        rbm = LabeledRBM(self.rbm(np.float64))
        parts = [
            on_chunk(lambda x: function(rbm, x), rows, np.float64, device)
            for rows in chunks(v)
        ]
        return np.concatenate(parts)

    def sample_labeled(
        self, n_samples: int, n_steps: int, seed: int, classes: Array | None = None
    ) -> tuple[Array, Array, float]:
        """Draw rows and their class indices, or rows of given classes.

        Returns the rows, the class indices and the largest R-hat of the chains.
        """
        rbm = self.rbm()
        device = rbm.weight.device
        generator = make_generator(seed, device)
        base = torch.from_numpy(self.base_bias).to(rbm.weight)

        def draw(rbm: RBM, base_bias: Tensor, n: int) -> tuple[Array, float]:
            v, diagnostics = annealed_chains(
                rbm, base_bias, max(n, MIN_CHAINS), n_steps, generator
            )
            return v[:n].cpu().numpy().astype(np.float64), diagnostics["r_hat"]

        if classes is None:
            rows, r_hat = draw(rbm, base, n_samples)
            v, labels = self.split(rows)
            return v, labels.argmax(axis=1), r_hat
        base_bias = self.units.split(base)[0]
        v, r_hat = np.empty((n_samples, len(base_bias))), 0.0
        for k in np.unique(classes).tolist():
            rows = classes == k
            v[rows], spread = draw(LabeledRBM(rbm).given(k), base_bias, rows.sum())
            r_hat = max(r_hat, spread)
        return v, classes, r_hat


@dataclass(frozen=True, eq=False)
class LabeledTask:
    """Rows of which some have a class, for an RBM that learns both.

    Attributes
    ----------
    v : ndarray of shape (n, n_features), or CSR matrix
        Complete rows.
    classes : ndarray of int of shape (n,)
        Class indices, -1 where unlabelled.
    n_classes : int
        Number of classes.
    discriminative_weight, generative_weight : float
        Weights of the terms log p(y | v) and log p(v, y) or log p(v).
    unlabeled_weight : float
        Weight of an unlabelled row beside a labelled one.
    class_weights : tuple of float or None
        Weights of the classes in the discriminative term.
    """

    v: Any
    classes: NDArray[np.int64]
    n_classes: int
    discriminative_weight: float
    generative_weight: float
    unlabeled_weight: float
    class_weights: tuple[float, ...] | None

    metric = LabelLogProb
    can_run_away = False

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.v.shape[0]

    def begin(self, options: RBMOptions, rng: np.random.RandomState) -> FittedRBM:
        """Return an untrained RBM for rows like these."""
        counts = np.bincount(self.classes[self.classes >= 0], minlength=self.n_classes)
        mean, n_rows = column_means(self.v)
        mean = np.concatenate([mean, counts / counts.sum()])
        n_rows = np.concatenate([n_rows, np.full(self.n_classes, counts.sum())])
        moments = (mean, n_rows, total_deviation(self.v))
        units = LabeledUnits(self.n_classes)
        fitted = begin(units, moments, self.v.dtype, options, rng)
        parts = {field.name: getattr(fitted, field.name) for field in fields(fitted)}
        return FittedLabeledRBM(**parts)

    def resume(
        self, fitted: FittedRBM, options: RBMOptions, generator: torch.Generator
    ) -> tuple[RBMAscent, LabeledBatches, None]:
        """Return the ascent of the RBM from where it stands, and batches of rows."""
        device = generator.device
        rbm, state = trained_rbm(fitted, device)
        weights = self.class_weights
        gradient = LabeledGradient(
            state["chains"],
            (state["visible_offset"], state["hidden_offset"]),
            discriminative_weight=self.discriminative_weight,
            generative_weight=self.generative_weight,
            method=options.method,
            n_gibbs_steps=options.n_gibbs_steps,
            centered=options.centered,
            class_weights=None if weights is None else torch.tensor(weights).to(device),
            generator=generator,
        )
        ascent = RBMAscent(
            rbm,
            gradient,
            momentum=options.momentum,
            weight_decay=options.decay(fitted.n_rows),
            averaging=options.weight_averaging,
        )
        ascent.load(state)
        x = self.v if sparse.issparse(self.v) else to_tensor(self.v, np.float32)
        classes = torch.from_numpy(self.classes)
        unlabeled_weight = self.unlabeled_weight if self.generative_weight else 0.0
        return ascent, LabeledBatches(x, classes, unlabeled_weight, device), None

    def publish(self, fitted: FittedRBM, average: RBM) -> FittedRBM:
        """Return the RBM as it is: its visible units learn nothing."""
        return fitted

    def for_rows(self) -> None:
        """Return None: no outliers are told by the labelled RBM."""

    def watched(self, options: RBMOptions) -> tuple[LabeledTask, None]:
        """Return these rows: classes are learnt first, and no likelihood is watched."""
        return self, None

    def calibration_rows(self, fitted: FittedRBM, rng: np.random.RandomState) -> Array:
        """Return some rows (v, y), with the class predicted where unknown."""
        chosen = rng.permutation(self.v.shape[0])[:MAX_KEPT_ROWS]
        v, classes = dense(self.v[chosen]), self.classes[chosen]
        predicted = cast(FittedLabeledRBM, fitted).logits(v).argmax(axis=1)
        classes = np.where(classes < 0, predicted, classes)
        labels = np.eye(self.n_classes)[classes]
        return some_rows(np.concatenate([v, labels], axis=1), rng)


def auto_epochs(steps_per_epoch: int) -> int:
    """Return the number of epochs of `n_iter="auto"`."""
    return int(np.clip(-(-AUTO_STEPS // steps_per_epoch), *AUTO_EPOCHS))
