"""The likelihood of an RBM, watched while it is trained: which epoch to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from skebm.evaluation import enumerated_log_normalizer
from skebm.evaluation.normalizers._rbm import BriefAnnealing, anneal_briefly
from skebm.models.boltzmann._kinds import Kind
from skebm.models.boltzmann._rows import dense, to_tensor
from skebm.networks import RBM
from skebm.networks.boltzmann._rbm import n_binary_states
from skebm.training import AscentRun
from skebm.utils import make_generator

Array = NDArray[Any]

#: With fewer rows a column than this, though at least so many, a share is held out.
ROWS_A_COLUMN, MIN_ROWS = 4, 100
#: Most rows, and most entries, that are watched.
MAX_WATCHED, MAX_ENTRIES = 500, 1_000_000

#: Rows trained on between two looks. A look moves chains `N_CHAINS * N_BETAS` times,
#: which takes about a tenth of the time.
ROWS_BETWEEN = 8000
N_CHAINS, N_BETAS = 16, 100
BETAS = torch.linspace(0, 1, N_BETAS + 1, dtype=torch.float64)
#: Rows of all epochs below which training is a trial, and is not judged by independent
#: columns.
LEAST_TRAINED = 1000
#: A layer of at most so many states is summed over; more with Gaussian units, whose sum
#: is quick.
MAX_STATES, MAX_QUADRATIC_STATES = 2**10, 2**20
#: What likelihoods may lose, as a share, before the loss counts; that of rows that
#: training completes, whose entries change.
TOLERANCE, TOLERANCE_COMPLETED = 0.01, 0.25
#: Steps of a training that is too short to tell of, where it kept close to its start.
SHORT = 200
#: Gain over the base, in parameters for each row, above which there is no doubt of it.
SURE = 2.0
#: Temperatures at which an RBM is compared with independent units.
N_TEMPERED = 20


@dataclass(frozen=True, eq=False)
class Watched:
    """Rows whose likelihood is watched.

    Attributes
    ----------
    rows : ndarray of shape (n, d)
        Rows of visible units.
    held_out : bool
        Whether they are held out of training.
    kind : Kind
        The kind of visible units.
    base : RBM
        The RBM without hidden units that training has to beat.
    incomplete : ndarray of int or None
        Where entries are missing, the indices of these rows among those of training,
        which completes them.
    fold_rows : ndarray of shape (n_rows, d) or None
        All rows of training, folds of which may tell in the end.
    """

    rows: Array
    held_out: bool
    kind: Kind
    base: RBM
    incomplete: NDArray[np.int64] | None = None
    fold_rows: Array | None = None


def choose_watched(
    v: Any, kind: Kind, early_stopping: bool | str, fraction: float
) -> tuple[Any, Watched | None]:
    """Return the rows to train on and those to watch; None where none are watched.

    Where there are few rows a column, the RBM can fit them too closely, and a share of
    them is held out, or folds tell in the end. Elsewhere rows of the training tell
    whether it fails. Rows with missing entries are watched as training completes them.
    """
    kept, chosen, held_out = _split(v, kind.is_nested, early_stopping, fraction)
    if chosen is None:
        return v, None
    given = dense(v[chosen])
    incomplete = chosen if np.isnan(given).any() else None
    rows = given if incomplete is not None else kind.watched(given)
    if rows is None:
        return v, None
    fold_rows = None if held_out or kind.is_nested else v
    # All rows count: a base that has seen held-out rows is no easier to beat.
    return kept, Watched(rows, held_out, kind, kind.base(v), incomplete, fold_rows)


def _split(
    v: Any, holds_out: bool, early_stopping: bool | str, fraction: float
) -> tuple[Any, NDArray[np.int64] | None, bool]:
    """Return rows to train on, indices of those to watch, and if they are held out."""
    if early_stopping is False:
        return v, None, False
    n_rows, n_columns = v.shape
    order = np.random.RandomState(0).permutation(n_rows)
    most = min(MAX_WATCHED, max(1, MAX_ENTRIES // n_columns))
    if not sparse.issparse(v) and np.isnan(v.min()):
        return v, order[:most], False
    few = holds_out and MIN_ROWS <= n_rows < ROWS_A_COLUMN * n_columns
    n_held_out = int(fraction * n_rows) if early_stopping is True or few else 0
    if not 0 < n_held_out < n_rows:
        return v, order[:most], False
    held_out, kept = order[:n_held_out], np.sort(order[n_held_out:])
    return v[kept], held_out[:most], True


@dataclass(frozen=True)
class Look:
    """The likelihood after an epoch.

    Attributes
    ----------
    epoch : int
        The epoch; 0 stands for independent units with the means of the rows.
    log_likelihood : float
        Mean log-likelihood of the watched rows, in nats.
    independent : float
        That of independent units.
    slack : float
        How far log_likelihood may be too high.
    """

    epoch: int
    log_likelihood: float
    independent: float
    slack: float = 0.0

    @property
    def gain(self) -> float:
        """The gain over independent units, which completed rows compare by."""
        return self.log_likelihood - self.independent


@dataclass(frozen=True)
class Verdict:
    """What is kept instead of the last epoch.

    Attributes
    ----------
    kept, last : Look
        The epoch that is kept, and the last one.
    beta : float
        1, or where no epoch is better than the base, how far on the way from it to the
        last epoch the likelihood is highest.
    watched : Watched
        The rows that were watched.
    folds : tuple of float or None
        Mean gain over the base on rows that were left out, with its standard error;
        minus infinity where a fit without them diverged.
    is_short : bool, default=False
        Whether training was merely too short to get to the base.
    """

    kept: Look
    last: Look
    beta: float
    watched: Watched
    folds: tuple[float, float] | None = None
    is_short: bool = False

    @property
    def keeps_base(self) -> bool:
        """Whether nothing that was learnt is kept."""
        return self.beta == 0 and not self.watched.kind.is_nested

    def shrunk(self, trained: RBM) -> RBM:
        """Return the RBM that is kept instead of a trained one."""
        return self.watched.kind.shrunk(trained, self.watched.base, self.beta)

    def __str__(self) -> str:
        is_nested = self.watched.kind.is_nested
        base = self.watched.kind.base_name
        remedy = "The Gaussian is therefore kept; hidden units do next to nothing."
        if is_nested:
            remedy = (
                f"The weights are therefore shrunk to {self.beta:.2g} times what was "
                f"learnt; 0 means that the RBM is that of {base}."
            )
        if self.folds is not None:
            gain, error = self.folds
            if not np.isfinite(gain):
                return (
                    "A fit to a part of the rows diverged, so that no rows left out "
                    f"of fits show that the RBM is better than {base}. {remedy}"
                )
            return (
                f"By rows that are left out of fits, the RBM gives new rows {gain:.3g} "
                f"nats more than {base} (standard error {error:.2g}). {remedy}"
            )
        rows = "held-out" if self.watched.held_out else "training"
        fall = (
            f"The log-likelihood of {rows} rows is {self.last.log_likelihood:.4g} nats "
            f"after epoch {self.last.epoch}"
        )
        level = f"{self.last.independent:.4g}"
        if self.kept.epoch:
            return (
                f"{fall}, and was {self.kept.log_likelihood:.4g} after epoch "
                f"{self.kept.epoch}, which is kept ({base}: {level})."
            )
        has = "have" if base.endswith("s") else "has"
        start = base[0].upper() + base[1:]
        return f"{fall}. {start} {has} {level}, and no epoch was better. {remedy}"


class LikelihoodWatch:
    """Watches the likelihood of some rows along a run; keeps the best state.

    log Z is summed exactly where a layer has few states, and estimated by a brief
    annealing otherwise, which may make likelihoods look better than they are, all by
    about as much. No random numbers of the run are used.

    Parameters
    ----------
    run : AscentRun
        The training.
    watched : Watched
        The rows.
    base_bias : ndarray of shape (n_statistics,)
        Natural parameters of independent units with the means of the rows.
    n_rows : int
        Rows of an epoch.
    """

    def __init__(
        self, run: AscentRun, watched: Watched, base_bias: Array, n_rows: int
    ) -> None:
        device = run.generator.device
        self.run, self.n_rows, self.watched = run, n_rows, watched
        self.base_bias = to_tensor(base_bias, np.float32, device)
        self._base = watched.base.to(torch.float64).to(device)
        # Twice converted, it shares no memory.
        self._start = run.evaluated_model().to(torch.float64).to(torch.float32)
        self.looks = [Look(0, 0.0, 0.0)]
        self._best = self._kept = self.looks[0]
        self._n_waiting = 0
        self._snapshot: Any = None

    def after_epoch(self, epoch: int) -> None:
        """Look where enough rows were trained on, and mend chains that lost their way.

        Chains stay where data are, while the density gets modes elsewhere. Where the
        likelihood falls, half of them start again at draws that annealing finds.
        """
        self._n_waiting += self.n_rows
        if self._n_waiting < ROWS_BETWEEN:
            return
        self._look(epoch)
        gradient, last = self.run.ascent.gradient, self.looks[-1]
        if not self._is_worse(last) or gradient.chains.ndim != 2:
            return
        rbm, chains = self.run.ascent.rbm, gradient.chains[::2]
        annealed = self._anneal(rbm, epoch)
        generator = make_generator(epoch, chains.device)
        if not annealed.log_weights.isfinite().all():
            return
        chosen = annealed.log_weights.softmax(0).multinomial(
            len(chains), replacement=True, generator=generator
        )
        chains.copy_(rbm.sample_hidden(annealed.v[chosen], generator))

    def end(self, epoch: int) -> Verdict | None:
        """Go back to the best epoch where the last is worse; return what was kept."""
        is_nested = self.watched.kind.is_nested
        if epoch * self.n_rows < (LEAST_TRAINED if is_nested else 1):
            return None
        if self.looks[-1].epoch != epoch:
            self._look(epoch)
        last, best, beta = self.looks[-1], self._best, 1.0
        self._kept = last
        is_worse, watched = self._is_worse(last), self.watched
        is_below = not is_nested and last.gain - last.slack <= 0
        if is_below and self._snapshot is None:
            is_short = self._is_short and not is_worse
            return Verdict(self.looks[0], last, 0.0, watched, is_short=is_short)
        # An epoch that beats the Gaussian goes before one within the tolerance of it.
        if not is_worse and not is_below:
            return None
        if self._snapshot is not None:
            self.run.restore(self._snapshot)
            self._kept = best
        else:
            beta = self._best_beta()
        return Verdict(best, last, beta, watched)

    @property
    def is_in_doubt(self) -> bool:
        """Whether the gain over the base may be one of the rows trained on alone.

        Each parameter that is fitted gains about half a nat over all rows, and loses
        as much on new ones.
        """
        if self.watched.fold_rows is None or not self._best.epoch:
            return False
        n_parameters = self._start.weight.numel() + self._start.hidden_bias.numel()
        return self._best.gain < SURE * n_parameters / self.n_rows

    @property
    def kept_gain(self) -> float:
        """The gain over the base, of watched rows, by the state that `end` left."""
        return self._kept.gain - self._kept.slack

    def gains(self, rows: Array) -> Array:
        """Return how much more likely rows are than by the base, in nats."""
        rbm = self.run.evaluated_model()
        v = to_tensor(rows, np.float64, self.base_bias.device)
        log_z, slack = self._log_normalizers(rbm, BETAS[-1:])
        level = float(log_z[-1] + slack[-1])
        with torch.no_grad():
            log_p = -rbm.to(torch.float64)(v) - level
            return (log_p - _log_prob(self._base, v)).cpu().numpy()

    def by_folds(self, gain: float, error: float) -> Verdict:
        """Return the verdict that rows left out of training are no more likely."""
        looks, folds = self.looks, (gain, error)
        return Verdict(looks[0], looks[-1], 0.0, self.watched, folds, self._is_short)

    @property
    def _is_short(self) -> bool:
        return self.run.ascent.n_steps < SHORT

    # -------------------------------------------------------------------- looks

    def _rows(self) -> Tensor:
        """Return the watched rows, as training has completed them."""
        chosen, completion = self.watched.incomplete, self.run.completion
        if chosen is None or completion is None:
            return to_tensor(self.watched.rows, np.float32, self.base_bias.device)
        return completion.x[torch.from_numpy(chosen)].to(self.base_bias.device)

    def _look(self, epoch: int) -> None:
        self._n_waiting = 0
        look = self._measure(self.run.evaluated_model(), epoch)
        self.looks.append(look)
        if look.gain - look.slack > self._best.gain:
            self._best, self._snapshot = look, self.run.snapshot()

    def _measure(self, rbm: RBM, epoch: int) -> Look:
        rows = self._rows()
        log_z, slack = self._log_normalizers(rbm, BETAS[-1:])
        value = _mean_unnormalized(rbm, rows) - float(log_z[-1])
        value = value if np.isfinite(value) else -np.inf
        return Look(epoch, value, self._independent(rows), float(slack[-1]))

    def _is_worse(self, look: Look) -> bool:
        """Return whether a look is worse than the best one by more than its error.

        Training that was merely short may not have reached independent units, but is
        better than where it started.
        """
        best, slack = self._best, self._tolerance(look)
        if look is best or look.gain >= best.gain - look.slack - best.slack - slack:
            return False
        if best.epoch:
            return True
        start = self._measure(self._start, 0)
        return look.gain < start.gain - look.slack - start.slack - slack

    def _tolerance(self, look: Look) -> float:
        """Return what likelihoods may lose before the loss counts, in nats."""
        share = TOLERANCE if self.watched.incomplete is None else TOLERANCE_COMPLETED
        if self.watched.kind.is_nested:
            return share * abs(look.independent)
        return share * self.watched.rows.shape[1]  # a density has no unit of its own

    def _independent(self, rows: Tensor) -> float:
        return float(_log_prob(self._base, rows.double()).mean())

    def _log_normalizers(self, rbm: RBM, betas: Tensor) -> tuple[Tensor, Tensor]:
        """Return log Z at some of `BETAS`, and how far it may be too low."""
        n_hidden, n_statistics = rbm.weight.shape
        n_states = min(n_binary_states(n_hidden), rbm.visible.n_states(n_statistics))
        quick = rbm.visible.is_quadratic
        if n_states <= (MAX_QUADRATIC_STATES if quick else MAX_STATES):
            exact = [
                enumerated_log_normalizer(rbm.tempered(beta, self.base_bias))
                for beta in betas.tolist()
            ]
            values = torch.tensor([estimate.log_normalizer for estimate in exact])
            return values, torch.zeros(len(values))
        annealed = self._anneal(rbm)
        places = torch.searchsorted(BETAS, betas.contiguous())
        return annealed.log_normalizers.cpu()[places], annealed.errors.cpu()[places]

    def _anneal(self, rbm: RBM, seed: int = 0) -> BriefAnnealing:
        generator = make_generator(seed, rbm.weight.device)
        return anneal_briefly(rbm, self.base_bias, BETAS, N_CHAINS, generator)

    def _best_beta(self) -> float:
        """Return the beta of the tempered RBM that gives the rows most likelihood."""
        rbm, rows = self.run.evaluated_model(), self._rows()
        betas = BETAS[:: N_BETAS // N_TEMPERED]
        log_z, slack = self._log_normalizers(rbm, betas)
        values = [
            _mean_unnormalized(rbm.tempered(beta, self.base_bias), rows)
            for beta in betas.tolist()
        ]
        gains = torch.tensor(values, dtype=torch.float64) - log_z - slack
        return float(betas[gains.nan_to_num(-np.inf).argmax()])


def _log_prob(base: RBM, rows: Tensor) -> Tensor:
    """Return log probabilities of rows by an RBM without hidden units."""
    return -base(rows) - base.visible.log_partition(base.visible_bias)


@torch.no_grad()
def _mean_unnormalized(rbm: RBM, rows: Tensor) -> float:
    return float(-rbm(rows).double().mean())
