"""Bad input: an error before any training that names what is wrong; or it works."""

import sys
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch import nn

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.evaluation import (
    AnnealedImportanceSampling,
    AutoNormalizer,
    ImportanceSampling,
)
from skebm.exceptions import NormalizerWarning
from skebm.networks import MLP
from skebm.objectives import PCD, VERA, Joint
from skebm.references import (
    BoxReference,
    GaussianMixtureReference,
    GaussianReference,
)
from skebm.samplers import BlockGibbs, Langevin
from skebm.training import Loop

TINY = partial(MLP, hidden_features=(16,))
N_ROWS = 60
FACES = {"density": EBMDensityEstimator, "classifier": JEMClassifier}


@pytest.fixture(params=FACES)
def face(request):
    return request.param


@pytest.fixture
def no_training(monkeypatch):
    """Fail where training starts all the same."""

    def fit(*_):
        pytest.fail("training started before the input was refused")

    monkeypatch.setattr(Loop, "fit", fit)


def make(face, **options):
    defaults = {
        "network": TINY,
        "reference": "gaussian",
        "normalizer": None,
        "max_iter": 5,
        "random_state": 0,
    }
    return FACES[face](**(defaults | options))


def table():
    return np.random.RandomState(0).normal(size=(N_ROWS, 3))


def labels():
    return np.arange(N_ROWS) % 3


def with_value(value, column=1):
    X = table()
    X[4, column] = value
    return X


BAD_TABLES = {
    "inf": (with_value(-np.inf, 2), ValueError, "contains infinity in column 2"),
    "an array of objects": (
        np.array([[1, 2], [3, "y"]] * 30, dtype=object),
        ValueError,
        r"column 1 \(object\): could not convert string to float: 'y'",
    ),
    "an array of words": (
        np.array([["1", "2"], ["3", "y"]] * 30),
        ValueError,
        "column 1 .*could not convert string to float: 'y'",
    ),
    "dates": (
        pd.DataFrame({"a": pd.date_range("2020", periods=N_ROWS), "b": labels()}),
        ValueError,
        r"column 'a' \(datetime64",
    ),
    "complex": (table() + 1j, ValueError, "Complex data not supported"),
    "sparse": (sparse.csr_array(table()), TypeError, "Sparse data was passed for X"),
    "one row": (table()[:1], ValueError, r"1 sample\(s\).*minimum of 2 is required"),
    "no rows": (table()[:0], ValueError, r"0 sample\(s\)"),
    "no columns": (table()[:, :0], ValueError, r"0 feature\(s\)"),
    "one dimension": (table()[:, 0], ValueError, "Expected 2D array, got 1D"),
    "overflow": (with_value(1e200), ValueError, "variance to be computed in column 1"),
    "overflow in a frame": (
        pd.DataFrame(with_value(1e200), columns=["a", "b", "c"]),
        ValueError,
        "variance to be computed in column 'b'",
    ),
}


GAPS = {
    "NaN": with_value(np.nan),
    "NaN in a frame": pd.DataFrame(with_value(np.nan), columns=["a", "b", "c"]),
    "pd.NA": pd.DataFrame(
        {"a": pd.array([1, None] * 30, dtype="Int64"), "b": labels()}
    ),
    "None among objects": pd.DataFrame(
        {"a": labels(), "b": [1, None] * 30}, dtype=object
    ),
}
CATEGORIES = {
    "words": pd.DataFrame({"a": labels(), "b": ["x", "y"] * 30}),
    "categories": pd.DataFrame({"a": pd.Categorical(["x", "y"] * 30), "b": labels()}),
}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_x_is_refused_by_name(case, method, face):
    X, error, message = BAD_TABLES[case]
    with pytest.raises(error, match=message):
        getattr(make(face), method)(X, labels()[: X.shape[0]])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_words_beside_numbers_are_refused_by_name(method, face):
    X = pd.DataFrame({"a": labels(), "b": [1, "y"] * 30}, dtype=object)
    with pytest.raises(TypeError, match=r"column 'b' can't be sorted.*of one type"):
        getattr(make(face), method)(X, labels())


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("case", CATEGORIES | GAPS)
def test_categories_and_gaps_are_taken(case, method, face):
    X = (CATEGORIES | GAPS)[case]
    options = {} if face == "density" else {"stacking": False}
    model = getattr(make(face, max_iter=1, **options), method)(X, labels())
    assert np.isfinite(model.score_samples(X)).all()


annealing = AnnealedImportanceSampling
BAD_OPTIONS = [
    ({"objective": "verra"}, "'objective'.*'vera'.*Got 'verra'"),
    ({"objective": 3}, "'objective'"),
    ({"network": "mpl"}, "'network'.*'mlp'.*Got 'mpl'"),
    ({"network": MLP(3, 1)}, "'network'.*built MLP.*functools.partial"),
    ({"network": lambda n, k: 3}, "'network' builder must return an nn.Module"),
    ({"network": lambda n, k: nn.Linear(n, k + 1)}, r"'network' must map .*Got"),
    ({"network": partial(MLP, hidden_features=(-4,))}, "hidden_features"),
    ({"reference": "gauss"}, "'reference'.*'gaussian'.*Got 'gauss'"),
    ({"normalizer": "aiss"}, "'normalizer'.*'ais'.*Got 'aiss'"),
    ({"max_iter": 0}, "'max_iter'"),
    ({"max_iter": "soon"}, "'max_iter'"),
    ({"batch_size": -1}, "'batch_size'"),
    ({"batch_growth": 0.5}, "'batch_growth'"),
    ({"learning_rate": -1e-3}, "'learning_rate'"),
    ({"learning_rate": 0}, "'learning_rate'"),
    ({"gradient_clip": -1}, "'gradient_clip'"),
    ({"weight_averaging": 1.0}, "'weight_averaging'"),
    ({"validation_fraction": 1.0}, "'validation_fraction'"),
    ({"n_iter_no_change": 0}, "'n_iter_no_change'"),
    ({"tol": -1e-3}, "'tol'"),
    ({"contamination": 0.6}, "'contamination'"),
    ({"ood_score": "energy"}, "'ood_score'"),
    ({"random_state": "seed"}, "'random_state'"),
    ({"device": "gpu"}, "device='gpu' is not a device skebm runs on"),
    (
        {"device": "meta"},
        "device='meta' is not a device skebm runs on; expected 'auto'",
    ),
    ({"device": "mps"}, "device='mps' is not a device skebm runs on"),
    ({"objective": Joint(VERA())}, "and objective Joint don't go together"),
    ({"normalizer": ImportanceSampling(-5)}, "'n_samples'.*Sampling.*Got -5"),
    ({"normalizer": ImportanceSampling("many")}, "'n_samples'.*Got 'many'"),
    ({"normalizer": annealing(-1)}, "'n_particles'.*Got -1"),
    ({"normalizer": annealing(2.5)}, "'n_particles'.*Got 2.5"),
    ({"normalizer": annealing(n_temperatures=0)}, "'n_temperatures'.*Got 0"),
    ({"normalizer": annealing(n_temperatures="all")}, "'n_temperatures'.*Got 'all'"),
    ({"normalizer": annealing(n_moves=0)}, "'n_moves'.*Got 0"),
    ({"normalizer": annealing(n_pilot_particles=1)}, "'n_pilot_particles'.*Got 1"),
    ({"normalizer": annealing(log_weight_variance=0)}, "'log_weight_variance'.*Got 0"),
    ({"normalizer": annealing(sampler="foo")}, "'sampler'.*'mala'.*Got 'foo'"),
    ({"normalizer": annealing(sampler=Langevin())}, "'sampler'.*Got Langevin"),
    ({"normalizer": AutoNormalizer(max_moves=-1)}, "'max_moves'.*Got -1"),
    ({"normalizer": AutoNormalizer(tolerance=-1)}, "'tolerance'.*Got -1"),
    ({"reference": GaussianMixtureReference(max_rows=0)}, "'max_rows'.*Got 0"),
    ({"reference": GaussianMixtureReference(4)}, "'n_components'.*Reference.*Got 4"),
    ({"reference": GaussianMixtureReference((2, 0))}, r"'n_components'.*\(2, 0\)"),
    ({"reference": GaussianMixtureReference(n_repeats=0)}, "'n_repeats'.*Got 0"),
    ({"reference": BoxReference(margin=-1)}, "'margin'.*BoxReference.*Got -1"),
    ({"reference": BoxReference(margin="wide")}, "'margin'.*Got 'wide'"),
]


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS)
def test_bad_options_are_refused_by_name(options, message, face):
    with pytest.raises(ValueError, match=message):
        make(face, **options).fit(table(), labels())


@pytest.mark.usefixtures("no_training")
@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda", 1)])
def test_cuda_without_cuda(device, face):
    with pytest.raises(ValueError, match=r"device=.*cuda.*torch sees 0 CUDA devices"):
        make(face, device=device).fit(table(), labels())


@pytest.mark.usefixtures("no_training")
def test_a_density_needs_an_objective():
    with pytest.raises(
        ValueError, match="EBMDensityEstimator and objective=None don't go together"
    ):
        make("density", objective=None).fit(table())


PAIRS = {
    "exact score matching of a wide table": (
        {"objective": "score_matching"},
        2000,
        r"ScoreMatching and X with 2000 columns don't go together.*at most 100.*"
        "objective='sliced_score_matching'",
    ),
    "curvature propagation through an unknown net": (
        {"objective": "curvature_propagation", "network": "mixture"},
        3,
        "CurvaturePropagation and network MixtureOfGaussians don't go together.*"
        "objective='sliced_score_matching'",
    ),
    "Gibbs on a net": (
        {"objective": PCD(sampler=BlockGibbs())},
        3,
        r"BlockGibbs.*don't go together",
    ),
    "labels for a density": (
        {"objective": "hdge"},
        3,
        "EBMDensityEstimator and objective HDGE don't go together.*JEMClassifier",
    ),
}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("case", PAIRS)
def test_pairs_that_do_not_go_together(case):
    options, n_columns, message = PAIRS[case]
    X = np.random.RandomState(0).normal(size=(N_ROWS, n_columns))
    with pytest.raises(ValueError, match=message):
        make("density", **options).fit(X)


@pytest.mark.usefixtures("no_training")
def test_too_many_columns_are_refused_before_the_reference_is_fitted(face, monkeypatch):
    def fit(*_, **__):
        pytest.fail("the reference was fitted before the pair was refused")

    monkeypatch.setattr(GaussianReference, "fit", fit)
    X = np.random.RandomState(0).normal(size=(N_ROWS, 101))
    with pytest.raises(ValueError, match=r"ScoreMatching and X with 101 columns"):
        make(face, objective="score_matching").fit(X, labels())


@pytest.mark.usefixtures("no_training")
def test_flow_contrastive_without_zuko(face, monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(
        ImportError,
        match=r"flow_contrastive.*needs zuko.*pip install skebm\[flows\]",
    ):
        make(face, objective="flow_contrastive").fit(table(), labels())


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classification_weight": 0}, "'classification_weight'"),
        ({"graph_weight": -1}, "'graph_weight'"),
        ({"prediction_entropy_weight": -1}, "'prediction_entropy_weight'"),
        ({"vat_weight": -1}, "'vat_weight'"),
        ({"vat_radius": 0}, "'vat_radius'"),
        ({"balance_weight": -1}, "'balance_weight'"),
        ({"class_weight": "even"}, "'class_weight'"),
        ({"class_weight": {0: 1, 9: 2}}, r"'class_weight'.*\[0, 1, 2\].*Got 9"),
        ({"class_weight": {0: -1}}, "'class_weight'.*Got -1 for class 0"),
        ({"class_weight": {0: np.nan}}, "'class_weight'.*Got nan for class 0"),
        ({"class_weight": {0: np.inf}}, "'class_weight'.*Got inf for class 0"),
        ({"class_weight": {0: [1]}}, r"'class_weight'.*Got \[1\] for class 0"),
        ({"class_weight": {0: "a"}}, "'class_weight'.*Got 'a' for class 0"),
        ({"class_weight": {0: 0, 1: 0, 2: 0}}, "'class_weight'.*above 0"),
        ({"unlabeled": [1]}, r"'unlabeled'.*Got \[1\]"),
    ],
)
def test_bad_options_of_the_classifier(options, message):
    with pytest.raises(ValueError, match=message):
        make("classifier", **options).fit(table(), labels())


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            labels()[:-1],
            r"y must have one label for each of the 60 rows.* 59 labels",
        ),
        (None, "requires y to be passed"),
        (np.full(N_ROWS, -1), "All 60 rows of y are unlabelled"),
        (np.where(labels() == 0, -1, 1), r"Labels are \{-1, 1\}"),
        (np.zeros(N_ROWS), "only one class"),
        (table()[:, 0], "continuous"),
        (table(), "y should be a 1d array"),
        (labels() + 0j, "y must hold labels. Got complex ones, of dtype complex128"),
        ([0j, *labels()[1:]], "y must hold one label a row. Got 0j, a complex"),
        ([[0], [1, 2], *labels()[2:]], r"one label a row. Got \[0\], a list"),
    ],
)
def test_bad_y(y, message):
    with pytest.raises(ValueError, match=message):
        make("classifier").fit(table(), y)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(N_ROWS - 1), "sample_weight.shape"),
        (-np.ones(N_ROWS), "Negative values"),
        (np.full(N_ROWS, np.nan), "sample_weight contains NaN"),
        (np.nan, "sample_weight contains NaN"),
        (np.ma.array(np.ones(N_ROWS), mask=np.eye(N_ROWS)[0]), "contains NaN"),
        (np.inf, "sample_weight contains infinity"),
        (np.ones(N_ROWS) + 1j, "'sample_weight'.*real number.*complex128"),
        ("balanced", "'sample_weight'.*real number"),
        (["1"] * N_ROWS, "'sample_weight'.*real number"),
        ([None] * N_ROWS, "'sample_weight'.*real number|contains NaN"),
        (np.eye(N_ROWS)[0], "'sample_weight'.*2 weights above zero. Got 1 of 60"),
    ],
)
def test_bad_weights(weight, message, face):
    with pytest.raises(ValueError, match=message):
        make(face).fit(table(), labels(), sample_weight=weight)


@pytest.mark.parametrize("factor", [2.0**1022, 2.0**-1060])
def test_only_ratios_of_weights_matter(factor, face):
    """Also where their sum overflows, or single precision would have them at zero."""
    weight = np.where(np.arange(N_ROWS) < 20, 1.0, 2.0)
    X, y = table(), labels()
    options = {"reference": "gaussian", "max_iter": 1}
    models = [
        make(face, **options).fit(X, y, sample_weight=w)
        for w in (weight / 2, factor * weight)
    ]
    np.testing.assert_array_equal(*[model.score_samples(X) for model in models])


def test_scoring_refuses_other_columns(face):
    names = ["a", "b", "c"]
    model = make(face).fit(pd.DataFrame(table(), columns=names), labels())
    good = pd.DataFrame(table(), columns=names)
    for method in ("energy", "score_samples", "ood_scores", "predict"):
        call = getattr(model, method)
        assert call(good).shape == (N_ROWS,)
        with pytest.raises(ValueError, match=r"2 features.*expecting 3 features"):
            call(table()[:, :2])
        with pytest.raises(ValueError, match="feature names should match"):
            call(good[["b", "a", "c"]])
        with pytest.raises(ValueError, match="contains infinity in column 'b'"):
            call(pd.DataFrame(with_value(np.inf), columns=names))
        with pytest.raises(ValueError, match=r"0 sample\(s\)"):
            call(good[:0])


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "3"])
def test_sample_refuses_other_numbers(n_samples, face):
    model = make(face).fit(table(), labels())
    with pytest.raises(ValueError, match="'n_samples' parameter must be an int"):
        model.sample(n_samples)


def test_sample_refuses_unknown_classes():
    model = make("classifier").fit(table(), labels())
    with pytest.raises(ValueError, match=r"classes of \[0, 1, 2\]. Got .*7"):
        model.sample(2, y=7)
    for y in ({}, {1}, [[0], [1, 2]], 0j, None.__class__):
        with pytest.raises(ValueError, match="y"):
            model.sample(2, y=y)
    with pytest.raises(ValueError, match=r"hold n_samples=2 of them. Got 3"):
        model.sample(2, y=[0, 1, 2])
    with pytest.raises(ValueError, match=r"hold n_samples=2 of them. Got 3"):
        model.sample(2, y=np.zeros(3))


# ------------------------------------------------------------------- what has to work


def scores(model, X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NormalizerWarning)
        return model.fit(X, labels()).score_samples(X)


@pytest.mark.parametrize("reference", ["gaussian", "gmm", None])
@pytest.mark.parametrize("constant", [0.0, 7.0, 1e30, 0.1])
def test_a_constant_column_works(constant, reference, face):
    X = table()
    X[:, 1] = constant
    model = make(face, reference=reference)
    assert np.isfinite(scores(model, X)).all()
    assert model._fitted.encoder.scale[1] == 1.0
    drawn = model.sample(5, random_state=0)
    drawn = drawn if face == "density" else drawn[0]
    assert np.isfinite(drawn).all()


def test_a_table_of_constants_works():
    model = make("density")
    assert np.isfinite(scores(model, np.ones((N_ROWS, 2)))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_column_of_1e30_works_like_any_other(dtype, face):
    X = table().astype(dtype)
    X[:, 2] *= dtype(1e30)
    expected = scores(make(face), table().astype(dtype)) - np.log(1e30)
    np.testing.assert_allclose(scores(make(face), X), expected, rtol=1e-4)


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9])
def test_columns_far_from_zero_work_like_any_other(offset, face):
    expected = scores(make(face), table())
    np.testing.assert_allclose(
        scores(make(face), table() + offset), expected, atol=0.01
    )


@pytest.mark.parametrize(
    "X",
    [
        np.random.RandomState(0).randint(5, size=(N_ROWS, 3)),
        np.random.RandomState(0).randint(2, size=(N_ROWS, 3)).astype(bool),
        np.random.RandomState(0).randint(5, size=(N_ROWS, 3)).astype(np.uint8),
    ],
    ids=lambda X: X.dtype.name,
)
def test_integers_booleans_and_objects_are_the_same_numbers(X, face):
    expected = scores(make(face), X.astype(np.float64))
    assert np.isfinite(expected).all()
    for same in (X, X.astype(object), pd.DataFrame(X).astype(object), X.tolist()):
        np.testing.assert_allclose(scores(make(face), same), expected, rtol=1e-12)


@pytest.mark.parametrize("reference", ["gaussian", None])
def test_rows_beyond_all_bounds_are_outliers_not_nan(reference):
    model = make("density", reference=reference)
    scores(model, table())
    far = np.vstack([with_value(1e300)[4], with_value(-1e40)[4]])
    assert (model.score_samples(far) < model.score_samples(table()).min()).all()
    assert (model.predict(far) == -1).all()
