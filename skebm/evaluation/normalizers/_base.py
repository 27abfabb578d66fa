"""The base class of estimators of log Z, and importance sampling."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from skebm.evaluation.normalizers._log_weights import (
    LogNormalizer,
    ReferenceDensity,
    energies,
    summarize,
)
from skebm.samplers._point import Energy, chunk_rows
from skebm.utils import check_count


class AbstractNormalizer(BaseEstimator, ABC):
    """Estimates log Z of p(x) = q0(x) exp(-E(x)) / Z."""

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""

    @abstractmethod
    def estimate(
        self,
        energy: Energy,
        reference: ReferenceDensity,
        *,
        generator: torch.Generator,
        rows: Tensor | None = None,
    ) -> LogNormalizer:
        """Estimate log Z = log E_q0[exp(-E)].

        Parameters
        ----------
        energy : callable, (n, d) -> (n,)
            E, in nats, low is likely, differentiable.
        reference : ReferenceDensity
            q0: `log_prob(x)` and `sample(n, generator)`.
        generator : torch.Generator
            The only source of randomness.
        rows : Tensor of shape (m, d), default=None
            Rows of data where reverse chains can start, preferably rows that E was not
            trained on.

        Returns
        -------
        LogNormalizer
            The estimate, its standard error in nats, whether to trust it, and, if there
            is one, the estimate of reverse chains.

        Raises
        ------
        FloatingPointError
            Where an energy is NaN or -inf.
        """


class ImportanceSampling(AbstractNormalizer):
    r"""Importance sampling from the reference.

    .. math:: \hat Z = \frac1n \sum_{i=1}^n \exp(-E(x_i)), \qquad x_i \sim q_0

    Parameters
    ----------
    n_samples : int, default=20_000
        n, the number of draws.

    References
    ----------
    A. B. Owen, "Monte Carlo theory, methods and examples" (2013), chapter 9.

    Examples
    --------
    >>> import torch
    >>> from skebm.evaluation import ImportanceSampling
    >>> class Normal:
    ...     def log_prob(self, x):
    ...         return -(x.square() + 1.8378770664).sum(1) / 2
    ...     def sample(self, n_samples, generator):
    ...         return torch.randn(n_samples, 2, generator=generator)
    >>> estimate = ImportanceSampling().estimate(  # log Z is -log 2
    ...     lambda x: x.square().sum(1) / 2,
    ...     Normal(),
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> round(estimate.log_normalizer, 1), estimate.trusted
    (-0.7, True)
    """

    def __init__(self, n_samples: int = 20_000) -> None:
        self.n_samples = n_samples

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        check_count(self, "n_samples")

    def estimate(
        self,
        energy: Energy,
        reference: ReferenceDensity,
        *,
        generator: torch.Generator,
        rows: Tensor | None = None,
    ) -> LogNormalizer:
        """Estimate log Z; see `AbstractNormalizer.estimate`."""
        del rows  # there are no reverse chains
        self.check_options()
        first = reference.sample(1, generator)
        largest = chunk_rows(first.shape[1])
        log_weights = [
            -energies(energy, reference.sample(n, generator))
            for n in _sizes(self.n_samples, largest)
        ]
        return summarize(torch.cat(log_weights), type(self).__name__)


def _sizes(total: int, largest: int) -> list[int]:
    full, rest = divmod(int(total), largest)
    return [largest] * full + [rest] * (rest > 0)
