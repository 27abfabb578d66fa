"""Estimators saved to files of arrays and words, and loaded."""

from __future__ import annotations

import json
from importlib.metadata import version

from sklearn.base import BaseEstimator

from skebm.persistence import _tensor_file
from skebm.persistence._encoding import Decoder, Encoder
from skebm.persistence._trusted import name_of

#: Number of the layout of a file: one more whenever the layout changes.
FILE_FORMAT = 2


def save(estimator, path, *, trusted=()):
    """Save an estimator to a file that holds arrays and words, for serving.

    The file is one of safetensors; its header holds the state of the estimator as JSON.
    Loading it runs no code but that of skebm, unlike a pickle. A file that is there is
    replaced as a whole.

    Parameters
    ----------
    estimator : estimator
        One of skebm.
    path : str or path
        The file, by custom ``.safetensors``.
    trusted : sequence of classes and functions, default=()
        Parts of your own that the estimator has, such as the class of a net. `load`
        must be given them as well.

    Raises
    ------
    TypeError
        Where the estimator, or a part of it, is of a type that can't be saved: it is
        named.

    See Also
    --------
    load : Loads it.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> from skebm.persistence import load, save
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator(max_iter=5, ood_score="log_density").fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "iris.safetensors")
    ...     save(model, path)
    ...     served = load(path)
    >>> bool((served.score_samples(X) == model.score_samples(X)).all())
    True
    """
    name = name_of(type(estimator))
    is_own = name.startswith("skebm.") and isinstance(estimator, BaseEstimator)
    if not is_own and type(estimator) not in trusted:
        raise TypeError(
            f"save takes an estimator of skebm. Got an object of type {name}; joblib "
            "and skops store pipelines and estimators of other packages."
        )
    encoder = Encoder(trusted)
    about = {
        "format": FILE_FORMAT,
        "skebm": version("skebm"),
        "estimator": encoder.encode(estimator),
    }
    _tensor_file.write(path, encoder.arrays, {"skebm": json.dumps(about)})


def load(path, *, trusted=()):
    """Load an estimator that `save` wrote.

    Parameters
    ----------
    path : str or path
        The file.
    trusted : sequence of classes and functions, default=()
        Parts of your own that the estimator has.

    Returns
    -------
    estimator : estimator
        As it was saved: it gives the same answers.

    Raises
    ------
    ValueError
        Where the file is no such file, or was saved by a later version in a format that
        this one can't read.
    TypeError
        Where the file names a class that is neither of skebm nor trusted.
    """
    advice = "skebm.persistence.load reads files of skebm.persistence.save."
    try:
        arrays, words = _tensor_file.read(path)
    except _tensor_file.NoTensorFileError as error:
        raise ValueError(f"{error} {advice}") from error
    if "skebm" not in words:
        raise ValueError(f"{path} is a safetensors file of another program. {advice}")
    about = json.loads(words["skebm"])
    if about["format"] > FILE_FORMAT:
        raise ValueError(
            f"{path} was saved by skebm {about['skebm']}, in format {about['format']}, "
            f"which skebm {version('skebm')} can't read: it reads formats up to "
            f"{FILE_FORMAT}."
        )
    return Decoder(arrays, trusted).decode(about["estimator"])
