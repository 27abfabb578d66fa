"""The mean of a density score and the noise contrast, each standardised."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from skebm.evaluation.outliers._mixture import MixtureDensity
from skebm.evaluation.outliers._noise_contrast import (
    NoiseContrast,
    StandardizedMean,
    moments,
)
from skebm.evaluation.outliers._score import ScoredModel, calibration_scores


class Combined(StandardizedMean):
    r"""Mean of a mixture's log density and the noise contrast, each standardised.

    .. math:: s(x) = \tfrac12 \sum_{j=1}^2 \frac{s_j(x) - m_j}{\sigma_j}

    with mean and standard deviation over the rows that thresholds are made of: those
    held out, and where these are few the others as if left out. Each score often
    detects the outliers that the other one misses.

    Parameters
    ----------
    density : MixtureDensity
        The first score.
    contrast : NoiseContrast
        The second one.
    location, scale : Tensor of shape (2,)
        m and sigma.
    """

    def __init__(
        self,
        density: MixtureDensity,
        contrast: NoiseContrast,
        location: Tensor,
        scale: Tensor,
    ) -> None:
        super().__init__(location, scale)
        self.density, self.contrast = density, contrast

    @classmethod
    def fit(
        cls,
        scored: ScoredModel,
        train: Tensor,
        held_out: Tensor,
        generator: torch.Generator,
        max_steps: int,
    ) -> Self:
        """Fit both and standardise them."""
        given = scored, train, held_out, generator, max_steps
        density, contrast = MixtureDensity.fit(*given), NoiseContrast.fit(*given)
        values = torch.stack(
            [
                calibration_scores(score, scored, train, held_out)
                for score in (density, contrast)
            ]
        )
        return cls(density, contrast, *moments(values))

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return the mean of the standardised scores."""
        values = torch.stack([self.density(scored, x), self.contrast(scored, x)], dim=1)
        return self.mean(values)

    def left_out(self, scored: ScoredModel, train: Tensor, held_out: Tensor) -> Tensor:
        """Return the scores of training rows, each as if it had been left out."""
        given = scored, train, held_out
        return self.mean(
            torch.stack([s.left_out(*given) for s in (self.density, self.contrast)], 1)
        )

    def arrays(self) -> dict[str, Tensor]:
        """Return location, scale and the arrays of both, prefixed by their names."""
        named = {"location": self.location, "scale": self.scale}
        for name in ("density", "contrast"):
            own = getattr(self, name).arrays()
            named |= {f"{name}.{key}": array for key, array in own.items()}
        return named

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor]) -> Self:
        """Return the score that has these arrays."""

        def under(prefix: str) -> dict[str, Tensor]:
            own = [key for key in arrays if key.startswith(prefix)]
            return {key.removeprefix(prefix): arrays[key] for key in own}

        return cls(
            MixtureDensity.from_arrays(under("density.")),
            NoiseContrast.from_arrays(under("contrast.")),
            arrays["location"],
            arrays["scale"],
        )
