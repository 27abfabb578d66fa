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
    r"""Rows of a table, then as much noise, and in the end points near the rows.

    Its loss is that of `NCE`, as a function of the values c of the critic:

    .. math:: \sum_i w_i \log(1 + \nu e^{-c_i})
              + \frac{\nu n}{m} \sum_j \log(1 + e^{c_j} / \nu)
              + a \sum_i w_i \log(1 + e^{c_{i'} - c_i})

    Attributes
    ----------
    rows : Tensor of shape (n + m, n_features) or (2 n + m, n_features)
        All points.
    weight : ndarray of shape (n,)
        w, of mean one.
    noise_ratio : float
        :math:`\nu`.
    near_weight : float
        a, of the pairs of a row and the point near it; 0 where there are none.
    """

    rows: Tensor
    weight: Array
    noise_ratio: float
    near_weight: float = 0.0

    def derivatives(self, critic: Array) -> tuple[float, Array, Array]:
        """Return the loss a row, and its first and second derivatives in each c.

        Second derivatives between a row and the point near it are left out.
        """
        n = len(self.weight)
        n_near = n if self.near_weight else 0
        data = critic[:n] - math.log(self.noise_ratio)
        noise = critic[n : len(critic) - n_near] - math.log(self.noise_ratio)
        of_noise = self.noise_ratio * n / max(1, len(noise))
        wrong, false = expit(-data), expit(noise)
        slopes = [-self.weight * wrong, of_noise * false]
        curvatures = [self.weight * wrong * (1 - wrong), of_noise * false * (1 - false)]
        loss = (self.weight * np.logaddexp(0, -data)).sum()
        loss += of_noise * np.logaddexp(0, noise).sum()
        if n_near:
            rise = critic[-n:] - critic[:n]
            pair = self.near_weight * self.weight * expit(rise)
            bend = pair * (1 - expit(rise))
            slopes[0] -= pair
            curvatures[0] += bend
            slopes.append(pair)
            curvatures.append(bend)
            pairs = self.weight * np.logaddexp(0, rise)
            loss += self.near_weight * pairs.sum()
        return float(loss / n), np.concatenate(slopes), np.concatenate(curvatures)
