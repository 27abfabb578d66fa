"""log Z of a fitted machine: when it is stale, and how it is had."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from skebm.evaluation import RBMAnnealing, can_enumerate, enumerated_log_normalizer
from skebm.exceptions import NormalizerWarning
from skebm.models.boltzmann._rows import MAX_KEPT_ROWS, some_rows, to_tensor
from skebm.utils import draw_seed, make_generator


class NormalizerMixin:
    """Keeps log Z of `_machine`, estimated at the first scoring after training."""

    def _check_normalizer(self):
        """Raise before training where log Z can't be had as asked for."""
        if self.normalizer == "exact" and not can_enumerate(self._machine()):
            raise ValueError(
                "normalizer='exact' needs a layer of at most 20 units; here are "
                f"n_components={self.n_components} and {len(self.intercept_visible_)} "
                "visible ones. Use 'auto' or 'ais'."
            )

    def _mark_stale(self, v, rng):
        """Leave log Z to the next `_refresh`."""
        rows = [*self._kept_rows, some_rows(v, rng)]
        while sum(map(len, rows[1:])) >= MAX_KEPT_ROWS:
            rows = rows[1:]
        self.__dict__.update(self._stale_attributes(rows, draw_seed(rng)))

    def _stale_attributes(self, rows, seed):
        """Return what leaves log Z to the next `_refresh`, by lists of rows of data."""
        unknown = None if self.normalizer is None else np.nan
        return {
            "_kept_rows": rows,
            "_stale": seed,
            "log_normalizer_": unknown,
            "log_normalizer_se_": unknown,
            "normalizer_result_": None,
        }

    def _refresh(self):
        """Bring log Z, and what follows from it, up to date."""
        if self._stale is None:
            return
        rows = np.concatenate(self._kept_rows)
        if not len(rows):
            rows = self._decode_base()
        self._normalize(rows, self._stale)
        self._stale = None

    def _normalize(self, rows, seed):
        """Estimate log Z; `rows` are of the data."""
        estimate = self._estimate_log_normalizer(rows, seed)
        if estimate is not None:
            self.log_normalizer_ = estimate.log_normalizer
            self.log_normalizer_se_ = estimate.standard_error
            self.normalizer_result_ = estimate
            if not estimate.trusted:
                warnings.warn(
                    "The estimate of the log normaliser, "
                    f"{estimate.log_normalizer:.3f} nats with a standard error of "
                    f"{estimate.standard_error:.3f}, can't be trusted: "
                    f"{estimate.reason}. Scores keep their order; their level may be "
                    "off. RBMAnnealing with more temperatures may help.",
                    NormalizerWarning,
                    stacklevel=4,
                )

    def _decode_base(self):
        """Return a row of the columns' means, where no complete row was seen."""
        rbm = self._machine(np.float32)
        bias = torch.from_numpy(self._base_bias[None]).to(rbm.weight)
        return rbm.visible.mean_(bias.clone()).cpu().numpy()

    def _estimate_log_normalizer(self, rows, seed):
        if self.normalizer is None:
            return None
        rbm = self._machine(np.float32)
        if self.normalizer in ("auto", "exact") and can_enumerate(rbm):
            return enumerated_log_normalizer(self._machine(np.float64))
        is_named = isinstance(self.normalizer, str)
        normalizer = RBMAnnealing() if is_named else self.normalizer
        device = rbm.weight.device
        return normalizer.estimate(
            rbm,
            to_tensor(self._base_bias, np.float32, device),
            to_tensor(rows, np.float32, device),
            make_generator(seed, device),
        )
