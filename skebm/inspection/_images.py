"""The picture of draws that are images."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skebm.evaluation.fidelity._table import estimator_name
from skebm.inspection._matplotlib import grid_of_axes
from skebm.utils import InvalidParameterError


class ImagesDisplay:
    """Draws as images: a line for each class, or rows above draws.

    It is recommended to make it by `from_estimator`.

    Parameters
    ----------
    images : ndarray of shape (n_lines, n_images, height, width) or with 3 channels
        The images.
    names : list of str
        Of the lines.

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (n_lines,)
        One for each line.
    figure_ : Figure
        Theirs.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skebm import BernoulliRBM
    >>> from skebm.inspection import ImagesDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> model = BernoulliRBM(16, n_iter=1, random_state=0).fit(X[:200] / 16)
    >>> display = ImagesDisplay.from_estimator(model, X[:200] / 16, n_images=4)
    >>> display.names, display.images.shape
    (['rows', 'draws'], (2, 4, 8, 8))
    """

    def __init__(self, images: NDArray[Any], names: list[str]) -> None:
        self.images = images
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        n_images: int = 10,
        class_names: ArrayLike | None = None,
        random_state: int = 0,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw images from a fitted estimator, and show them.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``sample``. Of a classifier, whose ``sample`` takes ``y``, each
            class has a line of draws.
        X : array-like of shape (n_samples, n_features), default=None
            Rows, of which the first ones are shown above the draws.
        image_shape : tuple of int, default=None
            (height, width), or (height, width, 3); None takes squares.
        n_images : int, default=10
            Images of a line.
        class_names : array-like of shape (n_classes,), default=None
            Names of the classes, in the order of ``classes_``; None takes the labels.
        random_state : int, default=0
            Seed.
        ax : Axes, default=None
            In whose place to draw; None makes a figure.
        **kwargs : dict
            Of `plot`.

        Returns
        -------
        display : ImagesDisplay

        Raises
        ------
        ValueError
            Where the columns do not make up an image.
        """
        lines: dict[str, Any] = {}
        if X is not None:
            lines["rows"] = np.asarray(X, dtype=float)[:n_images]
        classes = getattr(estimator, "classes_", None)
        if classes is None:
            drawn = estimator.sample(n_images, random_state=random_state)
            lines["draws"] = np.asarray(drawn, dtype=float)
        else:
            names = classes if class_names is None else np.asarray(class_names)
            if len(names) != len(classes):
                raise InvalidParameterError(
                    f"The 'class_names' parameter must name {len(classes)} classes. "
                    f"Got {len(names)} names."
                )
            y = np.repeat(classes, n_images)
            drawn = estimator.sample(len(y), random_state=random_state, y=y)[0]
            parts = np.asarray(drawn, dtype=float).reshape(len(classes), n_images, -1)
            lines |= {str(n): part for n, part in zip(names, parts, strict=True)}
        shape = shape_of_images(lines, image_shape, estimator_name(estimator))
        blank = np.full((n_images, *shape), np.nan)
        images = np.stack([blank] * len(lines))
        for image, rows in zip(images, lines.values(), strict=True):
            image[: len(rows)] = rows.reshape(len(rows), *shape)
        return cls(images, list(lines)).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, cmap: str = "gray_r") -> Self:
        """Draw a line of images for each name.

        Parameters
        ----------
        ax : Axes, default=None
            In whose place to draw; None makes a figure.
        cmap : str, default="gray_r"
            Colours of images of one channel.

        Returns
        -------
        self : ImagesDisplay
        """
        n_lines, n_images = self.images.shape[:2]
        size = (1.4 + 0.6 * n_images, 0.4 + 0.7 * n_lines)
        grid = grid_of_axes(ax, (n_lines, 1), type(self).__name__, size)
        self.axes_ = grid[:, 0]
        self.figure_ = self.axes_[0].figure
        low, high = np.nanmin(self.images), np.nanmax(self.images)
        is_colored = self.images.ndim == 5
        for axes, images, name in zip(self.axes_, self.images, self.names, strict=True):
            gap = [(0, 0), (1, 1), *[(0, 0)] * (images.ndim - 3)]
            padded = [np.pad(i, gap, constant_values=np.nan) for i in images]
            line = np.concatenate(padded, axis=1)
            if is_colored:
                line = np.nan_to_num((line - low) / ((high - low) or 1), nan=1.0)
            axes.imshow(line, cmap=cmap, vmin=low, vmax=high)
            axes.set_ylabel(name, rotation=0, ha="right", va="center")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
        return self


def shape_of_images(
    lines: dict[str, NDArray[Any]], image_shape: tuple[int, ...] | None, what: str
) -> tuple[int, ...]:
    """Return the shape of images, a square where none is given."""
    n_features = next(iter(lines.values())).shape[-1]
    side = math.isqrt(n_features)
    shape = (side, side) if image_shape is None else tuple(image_shape)
    if math.prod(shape) != n_features or len(shape) not in (2, 3):
        raise InvalidParameterError(
            f"The 'image_shape' parameter must be (height, width) or (height, width, 3)"
            f" of {n_features} numbers, the columns of {what}. Got {image_shape}."
        )
    return shape
