"""A default dtype that the user has set changes nothing, and stays."""

import numpy as np
import pytest
import torch

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.networks import NETWORKS
from skebm.objectives import OBJECTIVES

#: Names of objectives that the density estimator takes.
DENSITIES = sorted(OBJECTIVES.keys() - {"hdge", "mle"})


@pytest.fixture
def float64_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def table():
    """Rows with ties, and their classes."""
    X = np.random.default_rng(0).normal(size=(60, 3)).round(1)
    return X, (X[:, 0] > 0).astype(int)


def fit(face, **options):
    given = {"reference": "gaussian", "max_iter": 1, "random_state": 0} | options
    if given.get("objective") == "jem":
        given["reference"] = None
    return face(**given).fit(*table())


def check(model):
    X, _ = table()
    drawn = model.sample(3, random_state=0)
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(drawn[0] if isinstance(drawn, tuple) else drawn).all()
    assert {p.dtype for p in model.network_.parameters()} == {torch.float32}


@pytest.mark.usefixtures("float64_by_default")
@pytest.mark.parametrize("objective", DENSITIES)
def test_objectives(objective):
    check(fit(EBMDensityEstimator, objective=objective))


@pytest.mark.usefixtures("float64_by_default")
@pytest.mark.parametrize("reference", ["gaussian", "gmm", None])
def test_references(reference):
    check(fit(EBMDensityEstimator, objective="nce", reference=reference))
    check(fit(JEMClassifier, objective="vera", reference=reference))


@pytest.mark.usefixtures("float64_by_default")
def test_unlabelled_rows():
    X, y = table()
    few = np.where(np.arange(60) < 20, y, -1)
    check(JEMClassifier(None, max_iter=1, random_state=0).fit(X, few))


@pytest.mark.usefixtures("float64_by_default")
@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_networks(network):
    check(fit(EBMDensityEstimator, objective="nce", network=network))


def test_scores_stay_when_the_default_changes():
    """Fitted before, scored and drawn from after."""
    X, _ = table()
    model = fit(EBMDensityEstimator, objective="nce")
    scores, drawn = model.score_samples(X), model.sample(3, random_state=0)
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_allclose(model.score_samples(X), scores, rtol=1e-6)
        np.testing.assert_allclose(model.sample(3, random_state=0), drawn, rtol=1e-5)
    finally:
        torch.set_default_dtype(torch.float32)
