"""What faces know of some columns given the others: marginals, draws, imputation."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import torch

from skebm.estimators._base import private_random_state
from skebm.evaluation import IncompleteRow, annealed_samples, incomplete_rows
from skebm.evaluation.conditionals._mixed import incomplete_mixed_rows
from skebm.exceptions import NormalizerWarning, TrainingWarning
from skebm.references import GaussianMixtureReference
from skebm.utils import draw_seed, make_generator

#: Draws that fewer samples are thinned from, so that the masses of modes are right.
MIN_PARTICLES = 256
#: R-hat of draws above this is a warning.
MAX_R_HAT = 1.2
STRATEGIES = ("mean", "median", "draw")
#: Draws that a mixture is fitted to where a reference has no closed conditionals.
N_PROPOSAL_ROWS = 4000


class ConditionalsMixin:
    """log p of rows and parts of rows, draws given some columns, imputation."""

    def score_samples(self, X):
        r"""Log density of each row, in nats, in the units of X.

        .. math:: \log p(x) = \log q_0(z) - E(z) - \log Z - \sum_j \log s_j,
                  \qquad z_j = (x_j - m_j) / s_j

        A log density, not a log probability: it may be positive, and it depends on the
        units of the columns. With ``normalizer=None`` log Z is left out.

        Of a row with missing entries (NaN) it is the log of the marginal density of the
        others, 0 where all are missing:

        .. math:: \log p(x_O) = \log \int p(x_O, x_M) \, dx_M

        by importance sampling or, where that fails, annealing, from a seed that is the
        row itself, to a standard error of about 0.05 nats. That costs as much as
        hundreds to thousands of complete rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            float64; deterministic, whatever the other rows are.

        Warns
        -----
        skebm.exceptions.NormalizerWarning
            Where the marginal of a row can't be trusted, with the figures.
        """
        X = self._check_scored(X, allow_nan=True)
        self._refresh()
        gaps = np.isnan(X).any(axis=1)
        scores = np.empty(len(X))
        if not gaps.all():
            scores[~gaps] = self._on_rows(self._log_density(), X[~gaps])
        if gaps.any():
            scores[gaps] = self._log_marginals(X[gaps])
        return scores

    def impute(self, X, strategy="mean", random_state=None):
        """Fill missing entries by what the model knows of them given the others.

        Importance sampling from the reference's conditional, worth 400 draws at least;
        where that takes too many, sequential Monte Carlo, in two
        populations whose R-hat judges them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN where missing.
        strategy : {"mean", "median", "draw"}, default="mean"
            The conditional mean, of least squared error; the conditional median of each
            entry, of least absolute error; or a draw of all missing entries of the
            row, for multiple imputation. Of categories mean and median are the most
            likely one.
        random_state : int, RandomState or None, default=None
            Of a draw. Mean and median are deterministic, whatever the other rows are.

        Returns
        -------
        X_filled : ndarray or data frame of shape (n_samples, n_features)
            Observed entries as they are; a data frame where `fit` saw one that has
            columns of categories.

        Warns
        -----
        skebm.exceptions.TrainingWarning
            Where the draws for a row can't be trusted, with R-hat.
        """
        X = self._check_scored(X, allow_nan=True)
        if strategy not in STRATEGIES:
            raise ValueError(
                f"The 'strategy' parameter must be one of {STRATEGIES}. Got "
                f"{strategy!r} instead."
            )
        if strategy == "draw":
            filled = self._draw(1, private_random_state(random_state), X)
            return self._write_table(filled)

        def summary(row: IncompleteRow, missing):
            draws = row.draws(1, row.generator())
            draws = replace(draws, x=self._in_units(row, missing, draws.x))
            value = draws.mean() if strategy == "mean" else draws.median()
            codes = self._standardizer.code_columns
            for k in np.flatnonzero(np.isin(np.flatnonzero(missing), codes)):
                value[k] = draws.mode(k)
            return value[None], draws.r_hat

        return self._write_table(self._fill(X, 1, summary))

    def _check_given(self, given):
        """Return validated rows of which at least one has a gap."""
        given = self._check_scored(given, allow_nan=True)
        if not np.isnan(given).any():
            raise ValueError(
                "The 'given' parameter holds no NaN, so that there is nothing to draw. "
                "Put NaN into the columns that are to be drawn."
            )
        return given

    def _draw(self, n_samples, rng, given=None, log_tilt=None):
        """Draw from p(x) exp(log_tilt(x)), up to scale, or so for each given row."""
        generator = make_generator(draw_seed(rng), self._device)
        if given is not None:

            def sample(row: IncompleteRow, missing):
                return self._sampled(row, missing, n_samples, generator)

            return self._fill(given, n_samples, sample, log_tilt)
        model = self._make_model()
        if model.is_normalized:
            Z = self.network_.sample(n_samples, generator)
        else:
            Z = self._draw_annealed(model, n_samples, log_tilt, generator)
        return self._standardizer.inverse_transform(Z.cpu().numpy())

    def _draw_annealed(self, model, n_samples, log_tilt, generator):
        """Draw standardised rows, in the reference's latent space."""
        moved = model.in_latent_space()

        def to_rows(z):
            return z if moved is model else model.reference.from_latent(z)

        def log_tilt_there(z):
            return log_tilt(to_rows(z))

        draws = annealed_samples(
            _tilted(moved.energy, log_tilt and log_tilt_there),
            moved.reference,
            n_samples,
            generator=generator,
            min_particles=MIN_PARTICLES,
        )
        return to_rows(draws)

    def _fill(self, X, n_copies, values_of, log_tilt=None):
        """Return each row n_copies times, its gaps filled by what `values_of` says.

        It takes a row and its missing columns to values in the units of X and to R-hat.
        """
        filled = np.repeat(X, n_copies, axis=0)
        gaps = np.flatnonzero(np.isnan(X).any(axis=1))
        r_hats = []
        for row in self._incomplete_rows(X[gaps], log_tilt):
            i = gaps[row.number]
            missing = np.isnan(X[i])
            values, r_hat = values_of(row, missing)
            r_hats.append(r_hat)
            copies = filled[i * n_copies : (i + 1) * n_copies]
            copies[:, missing] = values.cpu().numpy()
        n_bad = sum(r_hat > MAX_R_HAT for r_hat in r_hats)
        if n_bad:
            warnings.warn(
                f"The draws for {n_bad} of {len(r_hats)} incomplete rows can't be "
                f"trusted: two populations of particles differ, with an R-hat of up to "
                f"{max(r_hats):.2f} (over {MAX_R_HAT}).",
                TrainingWarning,
                stacklevel=4,
            )
        return filled

    def _sampled(self, row, missing, n_samples, generator):
        """Return draws of what a row misses, in the units of X, and their R-hat."""
        draws = row.draws(n_samples, generator)
        x = draws.sample(n_samples, generator)
        return self._in_units(row, missing, x), draws.r_hat

    def _in_units(self, row, missing, x):
        """Return points of a row's free columns as what it misses, in units of X."""
        Z = np.zeros((len(x), len(missing)))
        Z[:, row.x.isnan().cpu().numpy()] = x.cpu().numpy()
        X = self._standardizer.inverse_transform(Z)[:, missing]
        return torch.from_numpy(X).to(x.device)

    def _log_marginals(self, X):
        level = self.log_normalizer_
        log_scale = np.log(self._standardizer.scale_)
        scores, doubtful = np.empty(len(X)), []
        for row in self._incomplete_rows(X):
            observed = ~np.isnan(X[row.number])
            if level is not None and not observed.any():
                scores[row.number] = 0.0
                continue
            score = row.log_reference - log_scale[observed].sum() - (level or 0.0)
            if np.isfinite(score):
                estimate = row.log_normalizer(row.generator())
                score += estimate.log_normalizer
                if not estimate.trusted:
                    doubtful.append(estimate.standard_error)
            scores[row.number] = score
        if doubtful:
            warnings.warn(
                f"The marginal density of {len(doubtful)} of {len(X)} incomplete rows "
                "can't be trusted: standard errors are up to "
                f"{max(doubtful):.2g} nats.",
                NormalizerWarning,
                stacklevel=3,
            )
        return scores

    def _incomplete_rows(self, X, log_tilt=None):
        """Yield the rows in standardised units, with the model of what they miss."""
        reference, energy = self._closed_reference()
        energy = _tilted(energy, log_tilt)
        Z = torch.from_numpy(self._standardizer.transform(X)).to(self._device)
        cells = self._standardizer.cells
        if cells is None:
            return incomplete_rows(Z, energy, reference)
        return incomplete_mixed_rows(cells, Z, energy, reference)

    def _closed_reference(self):
        """Return a density of closed conditionals and the energy that tilts it to p."""
        model = self._make_model()
        if model.is_normalized:
            density = getattr(self.network_, "closed_form", lambda: None)()
            if density is not None:
                return density, lambda z: z.new_zeros(len(z))
        if self.reference_.has_conditionals:
            return self.reference_, model.energy
        proposal = self._proposal_density()

        def energy(z):
            return proposal.log_prob(z) - model.log_prob_unnormalized(z)

        return proposal, energy

    def _proposal_density(self):
        """Return a mixture fitted to draws of the reference, once a fit."""
        of_reference, proposal = getattr(self, "_proposal", (None, None))
        if of_reference is not self.reference_:
            draws = self.reference_.sample(
                N_PROPOSAL_ROWS, make_generator(0, self._device)
            )
            recipe = GaussianMixtureReference(n_components=(16,), n_repeats=1)
            mixture = recipe.fit(
                draws.detach().float().cpu(), weight=None, generator=make_generator(0)
            )
            proposal = mixture.to(self._device)
            self._proposal = self.reference_, proposal
        return proposal

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_proposal", None)  # fitted anew, and alike, where it is needed
        return state


def _tilted(energy, log_tilt):
    """Return the energy less a log tilt, if there is one."""
    if log_tilt is None:
        return energy
    return lambda z: energy(z) - log_tilt(z)
