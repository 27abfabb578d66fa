"""Log densities of a Gaussian mixture as outlier scores, blurred or not."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from skebm.evaluation.outliers._member import Member
from skebm.evaluation.outliers._score import (
    ScoredModel,
    left_out_log_prob,
    seed_of,
)
from skebm.references import (
    Density,
    GaussianMixtureDensity,
    GaussianMixtureReference,
)
from skebm.references._base import Folds
from skebm.utils import make_generator


class MixtureDensity(Member):
    r"""Log density of a Gaussian mixture.

    .. math:: s(x) = \log \sum_k \pi_k N(z; \mu_k, C_k)

    in standardised columns, without the energy; in a table with categories, the log
    mass of the row's cell. The mixture is the one that the model's
    reference is or contains; if there is none, one is fitted.

    Parameters
    ----------
    weights, means, cholesky : Tensor
        Shares (K,), means (K, d) and Cholesky factors of the covariances (K, d, d).
    """

    #: Standard deviation of the noise that the mixture is convolved with.
    blur: ClassVar[float] = 0.0

    def __init__(self, weights: Tensor, means: Tensor, cholesky: Tensor) -> None:
        super().__init__()
        self.mixture = GaussianMixtureDensity(weights, means, cholesky)
        self._is_of_reference = True
        self._folds: Folds = ()

    @classmethod
    def fit(
        cls,
        scored: ScoredModel,
        train: Tensor,
        held_out: Tensor,
        generator: torch.Generator,
        max_steps: int,
    ) -> Self:
        """Return the score of the reference's mixture, or of one fitted to the rows."""
        del held_out, max_steps
        mixture = scored.model.reference.as_mixture()
        is_of_reference = mixture is not None
        folds: Folds = ()
        if mixture is None:
            rng = make_generator(seed_of(generator))
            mixture = GaussianMixtureReference().fit(
                train.cpu(), weight=None, generator=rng
            )
            folds = mixture.folds
        score = cls._blurred(mixture).to(train.device)
        score._is_of_reference = is_of_reference
        score._folds = tuple(
            (rows.to(train.device), cls._part(other).to(train.device))
            for rows, other in folds
        )
        return score

    @classmethod
    def _blurred(cls, mixture: GaussianMixtureDensity) -> Self:
        if not cls.blur:
            return cls(mixture.weights, mixture.means, mixture.cholesky)
        factors = mixture.cholesky.double()
        noise = cls.blur**2 * torch.eye(factors.shape[1]).to(factors)
        cholesky = torch.linalg.cholesky(factors @ factors.mT + noise)
        return cls(mixture.weights, mixture.means, cholesky.to(mixture.means))

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return the log density of the mixture, shape (n,)."""
        return scored.log_mass(self.mixture.log_prob)(x).double()

    def left_out(self, scored: ScoredModel, train: Tensor, held_out: Tensor) -> Tensor:
        """Return the log density of training rows, each as if it had been left out."""
        if self._is_of_reference and not scored.trains_reference:
            return super().left_out(scored, train, held_out)
        # A row's cell is as wide with it as without it.
        width = self(scored, train) - self.mixture.log_prob(train).double()
        if self._is_of_reference:
            values = width + scored.left_out_reference(train, self._part)
        else:
            values = width + left_out_log_prob(self.mixture, self._folds, train)
        for rows, other in self._left_out_folds(scored):
            values[rows] = scored.log_mass(other.log_prob)(train[rows]).double()
        return values

    def without(self, scored: ScoredModel, x: Tensor, base: Tensor) -> Tensor:
        """Return the scores of rows by the folds that left a training row out.

        Where there are none, those by the whole mixture.
        """
        values = self(scored, x)
        for rows, other in self._left_out_folds(scored):
            inside = torch.isin(base, rows)
            values[inside] = scored.log_mass(other.log_prob)(x[inside]).double()
        return values

    def _left_out_folds(self, scored: ScoredModel) -> Folds:
        """Return mixtures with the numbers of the training rows they left out."""
        if not self._is_of_reference:
            return self._folds
        return tuple((rows, self._part(other)) for rows, other in scored.folds)

    @classmethod
    def _part(cls, density: Density) -> Density:
        """Return the mixture of a reference, blurred."""
        mixture = density.as_mixture()
        assert mixture is not None
        return cls._blurred(mixture).mixture

    def arrays(self) -> dict[str, Tensor]:
        """Return the mixture's arrays."""
        return self.mixture.arrays()


class BlurredDensity(MixtureDensity):
    r"""Log density of a Gaussian mixture that is blurred by 0.4 standard deviations.

    .. math:: s(x) = \log \sum_k \pi_k N(z; \mu_k, C_k + \sigma^2 I),
              \qquad \sigma = 0.4

    Rows beside a narrow density then score as normal; but outliers in narrow gaps
    between the rows are missed.
    """

    blur: ClassVar[float] = 0.4
