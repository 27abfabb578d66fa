"""What restricted Boltzmann machines know of their density: scores and samples."""

from __future__ import annotations

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from skebm.estimators._input import check_n_samples, private_random_state
from skebm.estimators.boltzmann._normalizer import NormalizerMixin
from skebm.evaluation import conditional_means, log_marginal_unnormalized
from skebm.evaluation.outliers._detector import threshold
from skebm.exceptions import NormalizerWarning, TrainingWarning
from skebm.models.boltzmann._rows import dense, to_tensor
from skebm.samplers import BlockGibbs, Clamped, TemperedGibbs
from skebm.utils import draw_seed, make_generator, resolve_device

#: Fewer samples are thinned from so many chains, so that R-hat means something.
MIN_CHAINS = 64
#: R-hat of samples above this is a warning.
MAX_R_HAT = 1.2


class RBMDensityMixin(NormalizerMixin, DensityMixin):
    """log p(v) with its log Z, outliers by it, samples and missing entries."""

    # --------------------------------------------------------------- likelihood

    def free_energy(self, X):
        r"""Free energy of each row, in nats; low is likely.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        free_energy : ndarray of shape (n_samples,)
            F(v) = -log sum_h exp(-E(v, h)), float64.
        """
        check_is_fitted(self)
        v = self._encode(self._check_rows(X, reset=False))
        return self._on_rows(self._machine(np.float64), v)

    def score_samples(self, X):
        r"""Log probability of each row, in nats.

        .. math:: \log p(v) = -F(v) - \log Z

        With ``normalizer=None`` log Z is left out. Missing entries (NaN) are summed
        out, exactly, for at most 20 of them in a row, or 20 hidden units.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,)
            float64; deterministic.

        Raises
        ------
        ValueError
            Where more are missing.
        """
        check_is_fitted(self)
        v = self._encode(self._check_rows(X, reset=False, allow_nan=True))
        self._refresh()
        return self._log_prob(v)

    def score(self, X, y=None):
        """Mean log probability of the rows of X, in nats.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Unnormalised, with a `NormalizerWarning`, where ``normalizer=None``.
        """
        del y
        scores = self.score_samples(X)
        if self.log_normalizer_ is None:
            warn_unnormalized()
        return float(scores.mean())

    def decision_function(self, X):
        """`score_samples` less `offset_`: negative for outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
        """
        scores = self.score_samples(X)
        return scores - self.offset_

    def predict(self, X):
        """Tell rows in distribution (+1) from outliers (-1).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        inlier : ndarray of int of shape (n_samples,)
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def _log_prob(self, v):
        rbm = self._machine(np.float64)

        def negative_marginal(x):
            return -log_marginal_unnormalized(rbm, x)

        free_energy = self._on_rows(rbm, v, complete=negative_marginal)
        return -free_energy - (self.log_normalizer_ or 0.0)

    def _stale_attributes(self, rows, seed):
        return super()._stale_attributes(rows, seed) | {"offset_": np.nan}

    def _normalize(self, rows, seed):
        super()._normalize(rows, seed)
        self.offset_ = threshold(self._log_prob(rows), self.contamination)

    # ----------------------------------------------------------------- sampling

    def sample(
        self,
        n_samples=1,
        random_state=None,
        *,
        given=None,
        method="gibbs",
        n_steps=1000,
        return_diagnostics=False,
    ):
        """Draw rows from the machine, or from its conditional given some columns.

        Many chains, a sample each: the first half of their steps leads from
        independent columns to the machine (its weights grow to their full size), the
        second half runs at full size, and R-hat judges it. A warning says where the
        chains did not mix.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows; with `given`, for each of its rows.
        random_state : int, RandomState or None, default=None
            None is seeded by the system, so that two calls differ.
        given : array-like of shape (n_given, n_features), default=None
            Rows whose columns are held; NaN where a column is to be drawn.
        method : {"gibbs", "tempering"}, default="gibbs"
            "tempering" runs chains at ten temperatures that swap; it costs ten times as
            much, crosses between modes, and can't be combined with `given`.
        n_steps : int, default=1000
            Steps of each chain.
        return_diagnostics : bool, default=False
            Whether to return the diagnostics, too.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features) or (n_given * n_samples, ...)
            The rows; those of the first given row come first.
        diagnostics : dict
            "r_hat", "effective_sample_size", with `given` of all its rows together;
            "swap_acceptance" of tempering.
        """
        check_is_fitted(self)
        check_n_samples(n_samples)
        check_n_steps(n_steps)
        device = resolve_device(self.device)
        rng = private_random_state(random_state)
        generator = make_generator(draw_seed(rng), device)
        rbm = self._machine(np.float32)
        if method not in ("gibbs", "tempering"):
            raise ValueError(
                f"method must be 'gibbs' or 'tempering'. Got {method!r} instead."
            )
        if given is not None and method == "tempering":
            raise ValueError(
                "given and method='tempering' don't go together: use method='gibbs'."
            )
        if given is not None:
            remedy = ""
            held = self._encode(self._check_rows(given, reset=False, allow_nan=True))
            held = to_tensor(dense(held), np.float32, device)
            v, diagnostics = _clamped_chains(
                rbm, self._base(rbm), held, n_samples, n_steps, generator
            )
        else:
            remedy = " or method='tempering'"
            explore = {"gibbs": annealed_chains, "tempering": _tempered_chains}[method]
            n = max(n_samples, MIN_CHAINS)
            v, diagnostics = explore(rbm, self._base(rbm), n, n_steps, generator)
            v = v[:n_samples]
        warn_unmixed(diagnostics["r_hat"], n_steps, remedy)
        X = self._decode(v.cpu().numpy().astype(np.float64))
        return (X, diagnostics) if return_diagnostics else X

    def impute(self, X):
        """Fill missing entries by their conditional means, E[v_missing | v_observed].

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN where missing.

        Returns
        -------
        X_filled : ndarray of shape (n_samples, n_features)
            Observed entries as they are; deterministic.
        """
        check_is_fitted(self)
        v = self._encode(self._check_rows(X, reset=False, allow_nan=True))
        rbm = self._machine(np.float64)

        def complete(x):
            return conditional_means(rbm, x, make_generator(0, x.device))[0]

        filled = self._on_rows(lambda x: x, v, np.float64, complete)
        return self._decode(filled.astype(v.dtype, copy=False))


def annealed_chains(rbm, base_bias, n, n_steps, generator):
    """Run n chains while beta goes from 0 to 1, then as many steps at 1.

    Returns where they end and the diagnostics of the second half.
    """
    n_rising = n_steps // 2
    v = _cooled(rbm, base_bias, n, n_rising, generator)
    return BlockGibbs().run(rbm, v, n_steps=n_steps - n_rising, generator=generator)


def _cooled(rbm, base_bias, n, n_steps, generator, clamp=lambda v: v):
    """Return n rows of chains that lead from independent units to the machine."""
    machine = rbm.tempered(0.0, base_bias)
    v = clamp(machine.sample_blocks(base_bias.expand(n, -1), generator))
    for k in range(n_steps):
        machine = rbm.tempered((k + 1) / n_steps, base_bias)
        v = clamp(machine.sample_blocks(v, generator))
    return v


def _tempered_chains(rbm, base_bias, n, n_steps, generator):
    """Run chains at all temperatures; the coldest ones' half counts."""
    tempering = TemperedGibbs(base_bias)
    return tempering.run(rbm, n, n_steps=n_steps, generator=generator)


def _clamped_chains(rbm, base_bias, held, n_samples, n_steps, generator):
    """Run chains as `annealed_chains` for each row of `held`, enough to judge them by.

    Returns where `n_samples` of each row end and the diagnostics of the second half.
    """
    n_rows, n_rising = len(held), n_steps // 2
    n = max(n_samples, 2, -(-MIN_CHAINS // n_rows))
    clamped = Clamped(rbm, held.repeat_interleave(n, 0))
    v = _cooled(rbm, base_bias, n * n_rows, n_rising, generator, clamped.clamp)
    v, diagnostics = clamped.run(
        v, n_rows, n_steps=n_steps - n_rising, generator=generator
    )
    return v.unflatten(0, (n_rows, n))[:, :n_samples].flatten(0, 1), diagnostics


def warn_unnormalized():
    """Warn, in the name of `score`, that it has no log Z."""
    warnings.warn(
        "normalizer=None: the score leaves out log Z and does not compare with that of "
        "another model.",
        NormalizerWarning,
        stacklevel=3,
    )


def check_n_steps(n_steps):
    """Raise ValueError unless `n_steps` is a number of steps."""
    if not isinstance(n_steps, Integral) or n_steps < 1:
        raise ValueError(f"n_steps must be an int of at least 1. Got {n_steps!r}.")


def warn_unmixed(r_hat, n_steps, remedy=""):
    """Warn, in the name of `sample`, of chains that tell different stories."""
    if r_hat > MAX_R_HAT:
        warnings.warn(
            f"The chains of sample() did not mix: R-hat is {r_hat:.2f} after "
            f"n_steps={n_steps}. Use more steps{remedy}.",
            TrainingWarning,
            stacklevel=3,
        )
