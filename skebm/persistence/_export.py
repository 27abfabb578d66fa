"""Answers of fitted estimators as programs of torch, for serving without skebm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from skebm.estimators._base import BaseEBM

if TYPE_CHECKING:
    from torch.export import ExportedProgram

#: Rows of the example that is traced; the program takes any number.
N_TRACED = 3


def export(estimator, method="score_samples") -> ExportedProgram:
    """Return a method of a fitted estimator as a program of torch.

    The program holds the standardisation of the columns, the reference, the net and
    log Z. It needs neither skebm nor scikit-learn: ``torch.export.save`` writes it,
    ``torch.export.load`` reads it, and ``torch.onnx.export`` turns it into ONNX where
    onnx and onnxscript are installed (``pip install skebm[onnx]``).

    It takes a float64 tensor of complete rows, (n_samples, n_features), in the units
    and the order of the columns of `fit`, and returns a float64 tensor. The numbers are
    those of the method but for rounding in single precision. A row with NaN gets NaN:
    the estimator averages over draws there, which is no program of fixed steps.

    Parameters
    ----------
    estimator : EBMDensityEstimator, JEMClassifier or JEMRegressor
        Fitted to columns of numbers.
    method : {"score_samples", "predict_proba"}, default="score_samples"
        "predict_proba" is for `JEMClassifier`.

    Returns
    -------
    program : torch.export.ExportedProgram
        For any number of rows, all at once: memory grows with them, where the estimator
        cuts large tables into parts.

    Raises
    ------
    TypeError
        Where the estimator is none of these.
    ValueError
        Where it has no such method, where its table had categories, atoms or sentinels
        that count as missing (the columns are named), or where torch can't trace its
        net or reference, such as one of your own that looks at values.

    See Also
    --------
    save : Keeps the whole estimator.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> from skebm.persistence import export
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator(reference="gaussian", max_iter=5).fit(X)
    >>> served = export(model).module()
    >>> scores = served(torch.from_numpy(X))
    >>> bool(abs(scores - torch.from_numpy(model.score_samples(X))).max() < 1e-3)
    True
    """
    if not isinstance(estimator, BaseEBM):
        raise TypeError(
            "export takes an EBMDensityEstimator, a JEMClassifier or a JEMRegressor. "
            f"Got an object of type {type(estimator).__name__}; save and joblib keep "
            "other estimators."
        )
    module = estimator.torch_module(method)
    example = torch.zeros(N_TRACED, estimator.n_features_in_, dtype=torch.float64)
    rows = torch.export.Dim("n_samples", min=1)
    try:
        with torch.no_grad():
            shapes = ({0: rows},)
            return torch.export.export(
                module, (example,), dynamic_shapes=shapes, strict=False
            )
    except Exception as error:  # torch raises many kinds, of no common base
        parts = type(estimator.network_), type(estimator.reference_)
        names = " or ".join(part.__name__ for part in parts)
        raise ValueError(f"torch.export can't trace {names}: {error}") from error
