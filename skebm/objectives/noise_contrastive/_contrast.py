"""The logistic loss of rows against noise, as a function of the critic alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Contrast:
    r"""Rows of a table, then noise.

    Its loss is that of `NCE`, as a function of the values c of the critic:

    .. math:: \sum_i w_i \log(1 + \nu e^{-c_i})
              + \frac{\nu n}{m} \sum_j \log(1 + e^{c_j} / \nu)

    Attributes
    ----------
    rows : Tensor of shape (n + m, n_features)
        All points.
    weight : ndarray of shape (n,)
        w, of mean one.
    noise_ratio : float
        :math:`\nu`.
    """

    rows: Tensor
    weight: Array
    noise_ratio: float

    def loss(self, critic: Array) -> float:
        """Return the loss, divided by n."""
        weight, signed = self._signed(critic)
        losses = weight * np.logaddexp(0, signed)
        return float(losses.sum() / len(self.weight))

    def derivatives(self, critic: Array) -> tuple[Array, Array]:
        """Return the first and second derivatives of the loss in each c."""
        weight, signed = self._signed(critic)
        wrong = expit(signed)
        slope = weight * wrong
        slope[: len(self.weight)] *= -1
        return slope, weight * wrong * (1 - wrong)

    def _signed(self, critic: Array) -> tuple[Array, Array]:
        """Return the weight of each point, and the log odds of its wrong kind."""
        n = len(self.weight)
        signed = critic - math.log(self.noise_ratio)
        signed[:n] *= -1
        n_noise = len(critic) - n
        noise = np.full(n_noise, self.noise_ratio * n / max(1, n_noise))
        return np.concatenate([self.weight, noise]), signed
