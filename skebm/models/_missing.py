"""Learning from rows that miss entries, by the likelihood of what they hold."""

from __future__ import annotations

import numpy as np
import torch

from skebm.references import (
    TiedValues,
    fit_incomplete,
    hot_deck,
)
from skebm.tables._standardizer import column_names
from skebm.training import MAX_MONITORED, GapFilling, IncompleteRowsMonitor
from skebm.utils import draw_seed, make_generator

#: Steps of the chains that fill the rows kept for log Z and the threshold.
N_LAST_STEPS = 8
#: Completions that the score of a row with gaps is a mean over.
N_SCORED = 32


class IncompleteRowsMixin:
    """What `fit` does where entries are NaN: where none is, nothing at all."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def ood_scores(self, X):
        r"""Score of each row by ``ood_score``; higher is more normal.

        Of a row with missing entries it is the mean over 32 draws of what they may be,

        .. math:: s(x_O) = E_{p(x_M | x_O)}[s(x_O, x_M)]

        which is on the scale of complete rows: ``offset_`` holds for both.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            float64; deterministic. Less ``offset_`` it is negative for rows out of
            distribution.

        Raises
        ------
        ValueError
            Where ``ood_score`` was changed since `fit` to one that has to be learnt.
        """
        X = self._check_scored(X, allow_nan=True)
        self._refresh()
        score, gaps = self._ood_function(self.ood_score), np.isnan(X).any(axis=1)
        scores = np.empty(len(X))
        if not gaps.all():
            scores[~gaps] = self._on_rows(score, X[~gaps])
        if gaps.any():
            completions = self._fill(X[gaps], N_SCORED, self._completions)
            values = self._on_rows(score, completions)
            scores[gaps] = values.reshape(-1, N_SCORED).mean(axis=1)
        return scores

    def _completions(self, row, missing):
        return self._sampled(row, missing, N_SCORED, row.generator())

    def _fit_reference(self, recipe, x, weight, generator):
        if not x.isnan().any():
            return super()._fit_reference(recipe, x, weight, generator)
        return fit_incomplete(recipe, x, weight=weight, generator=generator)

    def _prepare(self, Z, codes, weight, train, rng, keep):
        if not Z.isnan().any():
            return super()._prepare(Z, codes, weight, train, rng, keep)
        alike = hot_deck(Z, make_generator(draw_seed(rng)))
        return super()._prepare(alike, codes, weight, train, rng, keep)

    def _batches(self, Z, codes, weight, rows, options):
        if Z.isnan().any():
            filling = self._gap_filling(Z, self._run_seed, lambda: self._run.served)
            options = options | {"gaps": filling}
        return super()._batches(Z, codes, weight, rows, options)

    def _density_monitor(self, Z, weight, held_out, noise_scale, seed):
        if not Z[held_out[:MAX_MONITORED]].isnan().any():
            return super()._density_monitor(Z, weight, held_out, noise_scale, seed)
        return super()._density_monitor(
            Z,
            weight,
            held_out,
            noise_scale,
            seed,
            monitor=IncompleteRowsMonitor,
            proposal=self._gap_proposal(),
        )

    def _rows_to_judge_by(self):
        train, held_out, seed = super()._rows_to_judge_by()
        held_out = None if held_out is None else self._filled(held_out, seed)
        return self._filled(train, seed), held_out, seed

    def _check_gain(self, X):
        if np.isnan(X).any():
            Z = self._filled(self._standardizer.transform(X), self._run_seed)
            X = self._standardizer.inverse_transform(Z)
        super()._check_gain(X)

    def _filled(self, Z, seed):
        """Return standardised rows completed by draws from the model."""
        if not np.isnan(Z).any():
            return Z
        filling = self._gap_filling(torch.from_numpy(Z), seed, self._make_model)
        rows = torch.arange(len(Z), device=self._device)
        generator = make_generator(seed, self._device)
        for _ in range(N_LAST_STEPS):
            filled = filling.renew(rows, generator)
        return filled.cpu().numpy()

    def _gap_filling(self, Z, seed, model):
        tied = TiedValues(Z, torch.from_numpy(self._noise_scale > 0))
        generator = make_generator(seed, self._device)
        Z = Z.to(self._device)
        return GapFilling(Z, self._gap_proposal(), model, tied, generator)

    def _gap_proposal(self):
        """Return a mixture whose conditionals propose what is missing."""
        return self.reference_.as_mixture() or self._proposal_density()


def keep_observed(X, sample_weight, names, min_rows):
    """Return X and weights without the rows that miss every entry.

    Raises
    ------
    ValueError
        Where a column misses every entry, or too few rows are left.
    """
    missing = np.isnan(X)
    if not missing.any():
        return X, sample_weight
    if min_rows > 1 and (empty := missing.all(axis=0)).any():
        raise ValueError(
            f"Input X contains NaN only in column {column_names(names, empty)}. Drop "
            "it: nothing can be learnt of it."
        )
    rows = np.flatnonzero(~missing.all(axis=1))
    if len(rows) < min_rows:
        raise ValueError(
            f"X must hold at least {min_rows} rows with an entry that is not NaN. Got "
            f"{len(rows)} of {len(X)}."
        )
    return X[rows], None if sample_weight is None else sample_weight[rows]
