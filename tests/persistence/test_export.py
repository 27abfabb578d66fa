"""Programs of torch: the numbers of the estimators, for any number of rows."""

import io
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from skebm import BernoulliRBM, EBMDensityEstimator, JEMClassifier, JEMRegressor
from skebm.networks import MLP, EnsembleMLP
from skebm.persistence import export
from skebm.references import CopulaMixtureReference, GaussianMixtureReference

pytestmark = pytest.mark.filterwarnings(
    "ignore:X holds values far beyond:skebm.exceptions.DataWarning"
)
RNG = np.random.RandomState(0)
#: Two numbers and a constant.
X = np.c_[RNG.normal(size=(60, 2)) * [3, 0.1] + [100, 0], np.full(60, 3.3)]
WILD = np.where((np.arange(60) < 3)[:, None] & [True, False, False], 1e6, X)
SKEWED = np.exp(2 * RNG.normal(size=(300, 3)))
Y = np.where(np.arange(60) % 2, (X[:, 0] > 100).astype(int), -1)
MLP_8 = partial(MLP, hidden_features=(8,))
FAST = {
    "network": MLP_8,
    "reference": "gaussian",
    "normalizer": "importance",
    "ood_score": "log_density",
    "max_iter": 1,
    "random_state": 0,
}
ENSEMBLE = partial(EnsembleMLP, hidden_features=(8,), n_members=2)
SMALL_MIXTURE = GaussianMixtureReference(n_components=(2,))


def density(X=X, **options):
    return EBMDensityEstimator(**FAST | options).fit(X)


def classifier(**options):
    return JEMClassifier(None, **FAST | {"stacking": False} | options).fit(X, Y)


MODELS = {
    "gaussian": density,
    "mixture": lambda: density(reference=SMALL_MIXTURE),
    "copula": lambda: density(SKEWED, reference=CopulaMixtureReference(SMALL_MIXTURE)),
    "kernels": lambda: density(reference="kde"),
    "box": lambda: density(reference=None),
    "wild values": lambda: density(WILD),
    "float32": lambda: density(WILD.astype(np.float32)),
    "no log Z": lambda: density(normalizer=None),
    "waves": lambda: density(network=partial(MLP_8, embedding="waves")),
    "normalized": lambda: density(network="ppca", objective="mle"),
    "trees": lambda: density(network="trees", objective="nce", max_iter=3),
    "images": lambda: density(
        RNG.uniform(size=(60, 16)), network="conv", image_shape=(1, 4, 4)
    ),
    "frame": lambda: density(pd.DataFrame(X, columns=list("abc"))),
    "classes": lambda: classifier(network=MLP_8),
    "ensemble": lambda: classifier(network=ENSEMBLE),
    "regression": lambda: JEMRegressor(**FAST, experts=["linear"]).fit(X, X[:, 0]),
}


def disturbed(model):
    """Give the last layer of a net weights: an epoch may have been no gain."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in model.network_.parameters():
            part += 0.1 * torch.randn(part.shape, generator=generator)
    return model


def rows_of(model):
    """Rows of other values than those of fit, with a constant that moved."""
    if model.n_features_in_ == 16:
        return np.random.RandomState(1).uniform(size=(20, 16))
    some = SKEWED if "Copula" in type_of(model) else X
    shifts = np.array([[0.1, 0, 0], [0, 0, 1]])
    moved = (some[:9] + shifts[:, None]).reshape(-1, 3)
    return np.concatenate([moved, 1e5 * some[:2]])


def type_of(model):
    return type(model.reference_).__name__


@pytest.fixture(params=MODELS)
def model(request):
    return disturbed(MODELS[request.param]())


def test_programs_give_the_numbers_of_the_method(model):
    rows = rows_of(model)
    methods = ["score_samples", "predict_proba"]
    for method in filter(partial(hasattr, model), methods):
        served = export(model, method).module()
        table = rows
        if hasattr(model, "feature_names_in_"):
            table = pd.DataFrame(rows, columns=model.feature_names_in_)
        expected = getattr(model, method)(table)
        assert len(np.unique(expected)) > 5
        for n in (1, 2, len(rows)):
            got = served(torch.from_numpy(rows[:n]))
            assert got.dtype == torch.float64
            np.testing.assert_allclose(got.numpy(), expected[:n], rtol=2e-6, atol=2e-6)


def test_programs_are_files_and_say_nan_of_rows_with_gaps():
    model, file = density(), io.BytesIO()
    torch.export.save(export(model), file)
    file.seek(0)
    rows = X[:3].copy()
    rows[1, 0] = np.nan
    scores = torch.export.load(file).module()(torch.from_numpy(rows)).numpy()
    assert np.isnan(scores).tolist() == [False, True, False]


def test_a_module_can_be_differentiated_in_the_rows():
    """The slope of a Gaussian's log density, by its mean and covariance."""
    model = density(X[:, :2])  # whose net is zero
    rows = torch.from_numpy(X[:5, :2]).requires_grad_()
    model.torch_module()(rows).sum().backward()
    reference, z = model.reference_, (X[:5, :2] - X[:, :2].mean(0)) / X[:, :2].std(0)
    factor = reference.cholesky[0].double().numpy()
    slope = -np.linalg.solve(factor @ factor.T, (z - reference.means.numpy()).T).T
    np.testing.assert_allclose(rows.grad, slope / X[:, :2].std(0), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "'kind'"),
        ({"atoms": "auto"}, "'often' and 'kind'"),
        ({"sentinels": "missing"}, "'kind'"),
    ],
)
def test_other_columns_than_numbers_are_refused_by_name(options, named):
    frame = pd.DataFrame(X, columns=["size", "often", "kind"])
    frame["often"] = frame["often"].where(frame.index > 30, 0.0)
    frame["kind"] = pd.Categorical(np.where(X[:, 0] > 100, "u", "v"))
    with pytest.raises(ValueError, match=f"can be exported: .*{named}"):
        export(density(frame, **options))


def test_codes_of_missing_entries_are_refused():
    X_codes = X.copy()
    X_codes[::6, 1] = -9999
    with pytest.raises(ValueError, match=r"sentinels='missing' .* column 1"):
        export(density(X_codes, sentinels="missing"))


def test_what_has_no_such_method_is_refused():
    with pytest.raises(
        ValueError, match=r"one of \['score_samples'\].*'predict_proba'"
    ):
        export(density(), "predict_proba")
    with pytest.raises(ValueError, match="'transform' of JEMClassifier"):
        export(classifier(), "transform")
    with pytest.raises(TypeError, match="Got an object of type BernoulliRBM"):
        export(BernoulliRBM())


class LooksAtValues(nn.Module):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.layer = nn.Linear(n_features, n_outputs)

    def forward(self, x):
        return self.layer(x) if x.mean() > 0 else self.layer(-x)


def test_nets_that_cant_be_traced_are_named():
    with pytest.raises(ValueError, match="can't trace LooksAtValues or GaussianMix"):
        export(density(network=LooksAtValues, objective="nce"))


@pytest.mark.parametrize("name", ["gaussian", "copula", "kernels", "waves", "ensemble"])
def test_onnx_gives_the_numbers_of_the_method(name):
    pytest.importorskip("onnxscript", reason="export to ONNX needs onnxscript")
    runtime = pytest.importorskip("onnxruntime", reason="ONNX programs need a runtime")
    model = disturbed(MODELS[name]())
    method = "predict_proba" if name == "ensemble" else "score_samples"
    program = torch.onnx.export(export(model, method), dynamo=True, verbose=False)
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    rows = rows_of(model)
    for n in (1, len(rows)):
        (got,) = session.run(None, {session.get_inputs()[0].name: rows[:n]})
        expected = getattr(model, method)(rows[:n])
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)
