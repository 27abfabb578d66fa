"""A default dtype that the user has set changes nothing, and stays."""

import numpy as np
import pytest
import torch

from skebm import BernoulliRBM, EBMDensityEstimator, JEMClassifier, RBMClassifier
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
    X = np.random.default_rng(0).normal(size=(60, 4)).round(1)
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
@pytest.mark.parametrize("network", sorted(NETWORKS.keys() - {"trees"}))
def test_networks(network):  # trees are float32 tensors and no parameters
    shape = (1, 2, 2)
    check(fit(EBMDensityEstimator, objective="nce", network=network, image_shape=shape))


@pytest.mark.parametrize("face", ["density", "classifier", "rbm", "rbm classifier"])
def test_a_fit_is_the_same_whatever_the_default(face):
    """Nets start from random weights, which torch draws otherwise in float64."""
    X, y = table()
    y = np.where(np.arange(60) < 30, y, -1)
    options = {"reference": "gaussian", "normalizer": "importance", "max_iter": 2}
    build = {
        "density": lambda: EBMDensityEstimator("nce", random_state=0, **options),
        "classifier": lambda: JEMClassifier(random_state=0, **options),
        "rbm": lambda: BernoulliRBM(4, n_iter=2, random_state=0),
        "rbm classifier": lambda: RBMClassifier(4, n_iter=2, random_state=0),
    }[face]
    rows = (X > 0).astype(float) if "rbm" in face else X
    answers = []
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            model = build().fit(rows, y) if "class" in face else build().fit(rows)
            ask = model.predict_proba if "class" in face else model.score_samples
            answers.append(ask(rows))
        finally:
            torch.set_default_dtype(torch.float32)
    # Trees choose their cuts by probabilities that are single here and double there.
    np.testing.assert_allclose(*answers, rtol=0, atol=1e-6)


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
