"""Gaussian processes of few labels, whose kernel is a sum with learnt weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

#: Lengths of the isotropic kernel, in root mean square distances of columns.
LENGTHS = (0.3, 1.0, 2.0)
#: Normal prior of the log weights of the kernels and of the noise.
LOG_WEIGHT, LOG_WEIGHT_DEVIATION = np.log(0.3), 2.0
#: Rows that weights are learnt by, and rows of the process.
MAX_TUNED, MAX_ROWS = 300, 1000
#: Rows that are predicted at once.
CHUNK_ROWS = 1024
JITTER = 1e-6
MAX_STEPS = 40


def kernels(a: Array, b: Array, names: Sequence[str], length: float) -> Array:
    """Return the kernel matrices of two sets of rows, (n_kernels, n_a, n_b).

    Parameters
    ----------
    a, b : ndarray of shape (n, n_features)
        Rows.
    names : sequence of str
        "constant"; "linear"; "additive", the mean of squared exponentials of single
        columns; "smooth", a squared exponential; "rough", Matern's of order 3/2.
    length : float
        Length of the last two.
    """
    n_features = a.shape[1]
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    distance = np.maximum(squares, 0) / n_features
    found = []
    for name in names:
        if name == "constant":
            found.append(np.ones_like(distance))
        elif name == "linear":
            found.append(a @ b.T / n_features)
        elif name == "additive":
            total = np.zeros_like(distance)
            for j in range(n_features):
                total += np.exp(-0.5 * (a[:, j, None] - b[:, j]) ** 2)
            found.append(total / n_features)
        elif name == "smooth":
            found.append(np.exp(-0.5 * distance / length**2))
        else:
            scaled = np.sqrt(3 * distance) / length
            found.append((1 + scaled) * np.exp(-scaled))
    return np.stack(found)


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    r"""A Gaussian process that was fitted to labels.

    .. math:: y = f(x) + \varepsilon, \qquad f \sim GP(0, \sum_j a_j k_j), \qquad
              \varepsilon \sim N(0, a_0 / v)

    with v the weight of a row. The weights a maximise the likelihood of the labels
    times a prior, for the best of three lengths.

    Attributes
    ----------
    names : tuple of str
        Names of the kernels.
    length : float
        Their length.
    weights : ndarray of shape (n_kernels + 1,)
        a, that of the noise last.
    x : ndarray of shape (n, n_features)
        Rows of the labels.
    factor : ndarray of shape (n, n)
        Lower triangle of the covariance of the labels.
    solved : ndarray of shape (n,)
        Covariance^-1 y.
    """

    names: tuple[str, ...]
    length: float
    weights: Array
    x: Array
    factor: Array
    solved: Array

    @classmethod
    def fit(
        cls, x: Array, y: Array, weight: Array, names: Sequence[str]
    ) -> GaussianProcess:
        """Fit to at most a thousand rows, the first ones.

        Parameters
        ----------
        x : ndarray of shape (n, n_features)
            Rows.
        y, weight : ndarray of shape (n,)
            Labels, and weights of mean one.
        names : sequence of str
            The kernels.
        """
        few = slice(0, MAX_TUNED)
        tuned = [
            _tune(kernels(x[few], x[few], names, length), y[few], weight[few])
            for length in LENGTHS
        ]
        best = int(np.argmin([loss for loss, _ in tuned]))
        length, weights = LENGTHS[best], tuned[best][1]
        some = slice(0, MAX_ROWS)
        x, y, weight = x[some], y[some], weight[some]
        matrix = np.tensordot(weights[:-1], kernels(x, x, names, length), 1)
        factor = _factor(matrix, weights[-1] / weight)
        return cls(
            tuple(names), length, weights, x, factor, cho_solve((factor, True), y)
        )

    def left_out(self, y: Array) -> tuple[Array, Array]:
        """Return mean and deviation of each of its labels y given the others."""
        inverse = cho_solve((self.factor, True), np.eye(len(self.x)))
        diagonal = np.diag(inverse)
        return y - self.solved / diagonal, np.sqrt(1 / diagonal)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return mean and deviation of the labels of rows, noise included."""
        starts = range(0, max(len(x), 1), CHUNK_ROWS)
        parts = [self._predict(x[start : start + CHUNK_ROWS]) for start in starts]
        mean, deviation = (np.concatenate(part) for part in zip(*parts, strict=True))
        return mean, deviation

    def _predict(self, x: Array) -> tuple[Array, Array]:
        """Return mean and deviation of the labels of few rows."""
        matrices = kernels(x, self.x, self.names, self.length)
        cross = np.tensordot(self.weights[:-1], matrices, 1)
        white = solve_triangular(self.factor, cross.T, lower=True)
        own = np.ones((len(self.names), len(x)))
        if "linear" in self.names:
            own[self.names.index("linear")] = (x**2).mean(axis=1)
        variance = self.weights[:-1] @ own - (white**2).sum(axis=0) + self.weights[-1]
        return cross @ self.solved, np.sqrt(np.maximum(variance, JITTER))

    def to_arrays(self) -> dict[str, Any]:
        """Return the process as arrays and names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the process that `to_arrays` described."""
        return cls(**(dict(arrays) | {"names": tuple(arrays["names"])}))


def _factor(matrix: Array, noise: Array) -> Array:
    """Return the lower triangle of the covariance of labels with noise."""
    covariance = matrix + np.diag(noise + JITTER * (1 + np.diag(matrix)))
    return cholesky(covariance, lower=True)


def _tune(matrices: Array, y: Array, weight: Array) -> tuple[float, Array]:
    """Return the least loss, of likelihood and prior, and its weights."""
    n = len(matrices)

    def loss(log_weights: Array) -> tuple[float, Array]:
        weights = np.exp(log_weights)
        matrix = np.tensordot(weights[:n], matrices, 1)
        factor = _factor(matrix, weights[n] / weight)
        solved = cho_solve((factor, True), y)
        inverse = cho_solve((factor, True), np.eye(len(y)))
        away = (log_weights - LOG_WEIGHT) / LOG_WEIGHT_DEVIATION
        value = 0.5 * y @ solved + np.log(np.diag(factor)).sum() + 0.5 * away @ away
        slope = 0.5 * (inverse - np.outer(solved, solved))
        gradient = np.append(
            np.tensordot(matrices, slope, 2), (np.diag(slope) / weight).sum()
        )
        return value, gradient * weights + away / LOG_WEIGHT_DEVIATION

    bounds = [(-12.0, 6.0)] * n + [(-9.0, 3.0)]
    found = minimize(
        loss,
        np.full(n + 1, LOG_WEIGHT),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": MAX_STEPS},
    )
    return float(found.fun), np.exp(found.x)
