"""Estimators saved to files without pickle: the same answers, no foreign code."""

import json
import struct
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from skebm import (
    BernoulliRBM,
    DeepBeliefNetwork,
    EBMDensityEstimator,
    EBMImputer,
    GaussianRBM,
    JEMClassifier,
    JEMRegressor,
    RBMClassifier,
    SoftmaxRBM,
)
from skebm.networks import MLP, EnsembleMLP
from skebm.objectives import VERA
from skebm.persistence import _files, _tensor_file, load, save, trusted_types

RNG = np.random.RandomState(0)
X = RNG.normal(size=(80, 3))
B = (X > 0).astype(float)
Y = np.where(np.arange(80) % 2, (X[:, 0] > 0).astype(int), -1)
FRAME = pd.DataFrame(
    {
        "size": X[:, 0],
        "kind": pd.Categorical(np.where(X[:, 1] > 0, "u", "v")),
        "is_wet": X[:, 2] > 0,
    }
)
WORDS = FRAME[["kind"]].assign(other=np.where(X[:, 2] > 0, "k", "l"))
FAST = {
    "network": partial(MLP, hidden_features=(8,)),
    "reference": "gaussian",
    "normalizer": "importance",
    "ood_score": "log_density",
    "max_iter": 1,
    "random_state": 0,
}
FEW = FAST | {"network": partial(EnsembleMLP, hidden_features=(8,))}
MODELS = {
    "density": lambda: EBMDensityEstimator(**FAST).fit(X),
    "mixture": lambda: EBMDensityEstimator(
        **FAST | {"reference": "gmm", "random_state": np.random.RandomState(0)}
    ).fit(X),
    "frame": lambda: EBMDensityEstimator(VERA(), **FAST).fit(
        FRAME.assign(size=FRAME["size"].where(FRAME.index > 5))
    ),
    "box": lambda: EBMDensityEstimator(
        **FAST | {"reference": None, "device": torch.device("cpu")}
    ).fit(X),
    "classifier": lambda: JEMClassifier(None, **FEW, stacking=False).fit(X, Y),
    "words": lambda: JEMClassifier(**FEW, stacking=False).fit(
        FRAME, np.where(X[:, 0] > 0, "yes", "no")
    ),
    "regressor": lambda: JEMRegressor(
        max_iter=1, reference="gaussian", random_state=0
    ).fit(X, np.where(np.arange(80) % 2, X[:, 0], np.nan)),
    "rbm": lambda: BernoulliRBM(2, n_iter=1, random_state=0).fit(B),
    "gaussian rbm": lambda: GaussianRBM(2, n_iter=1, random_state=0).fit(X),
    "softmax rbm": lambda: SoftmaxRBM(2, n_iter=1, random_state=0).fit(WORDS),
    "rbm classifier": lambda: RBMClassifier(2, n_iter=1, random_state=0).fit(B, Y),
    "deep belief": lambda: DeepBeliefNetwork((3, 2), n_iter=1, random_state=0).fit(B),
    "imputer": lambda: EBMImputer(EBMDensityEstimator(**FAST)).fit(FRAME),
}
ROWS = {
    "frame": FRAME[:9],
    "words": FRAME[:9],
    "softmax rbm": WORDS[:9],
    "imputer": FRAME[:3].assign(size=np.nan),
    **dict.fromkeys(("rbm", "rbm classifier", "deep belief"), B[:9]),
}
QUESTIONS = (
    "score_samples",
    "predict_proba",
    "predict",
    "predict_interval",
    "transform",
    "ood_scores",
    "impute",
)
_FITTED = {}


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    if name not in _FITTED:
        _FITTED[name] = MODELS[name]()
    return _FITTED[name]


def answers(model, rows):
    return {
        question: np.asarray(getattr(model, question)(rows))
        for question in QUESTIONS
        if hasattr(model, question)
    }


def assert_same(one, other, rows):
    expected = answers(one, rows)
    assert expected
    for question, found in answers(other, rows).items():
        np.testing.assert_array_equal(found, expected[question], err_msg=question)


def test_a_loaded_estimator_gives_the_same_answers(name, model, tmp_path):
    path = tmp_path / "model.safetensors"
    save(model, path)
    loaded = load(path)
    assert type(loaded) is type(model)
    assert_same(model, loaded, ROWS.get(name, X[:9]))
    assert vars(loaded).keys() == vars(model).keys()
    if name != "mixture":  # whose random state has an address
        assert repr(loaded) == repr(model)
    assert path.read_bytes().count(b"sklearn.") == 0 or name == "regressor"
    again = tmp_path / "again.safetensors"
    save(loaded, again)
    assert_same(load(again), loaded, ROWS.get(name, X[:9]))


def test_the_file_is_one_of_safetensors(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy", reason="needs safetensors")
    model = MODELS["density"]()
    save(model, tmp_path / "ours")
    ours, _ = _tensor_file.read(tmp_path / "ours")
    theirs = numpy.load_file(tmp_path / "ours")
    assert theirs.keys() == ours.keys()
    for key, array in theirs.items():
        np.testing.assert_array_equal(array, ours[key])
    numpy.save_file({"a": np.arange(3)}, tmp_path / "theirs")
    arrays, words = _tensor_file.read(tmp_path / "theirs")
    assert arrays["a"].tolist() == [0, 1, 2]
    assert words == {}


def test_skops_needs_no_more_than_the_trusted_types(name, model):
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    stored = skops.dumps(model)
    untrusted = set(skops.get_untrusted_types(data=stored))
    assert untrusted <= set(trusted_types())
    if name in ("box", "regressor"):
        loaded = skops.loads(stored, trusted=trusted_types())
        assert_same(model, loaded, ROWS.get(name, X[:9]))


# ------------------------------------------------------------------ own parts


class Narrow(MLP):
    """A net of a user's own."""

    def __init__(self, n_features, n_outputs):
        super().__init__(n_features, n_outputs, hidden_features=(3,))


def test_parts_of_ones_own_have_to_be_passed(tmp_path):
    model = EBMDensityEstimator(**FAST | {"network": Narrow}).fit(X)
    path = tmp_path / "own"
    with pytest.raises(TypeError, match=r"Narrow is no class of skebm.*trusted"):
        save(model, path)
    assert list(tmp_path.iterdir()) == []
    save(model, path, trusted=[Narrow])
    with pytest.raises(TypeError, match=r"Narrow is no class of skebm"):
        load(path)
    assert_same(model, load(path, trusted=[Narrow]), X)


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(TypeError, match="LogisticRegression"):
        save(LogisticRegression(), tmp_path / "x")
    with pytest.raises(TypeError, match=r"builtins\.range is no class of skebm"):
        save(EBMDensityEstimator(categorical_features=range(2)), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------- foreign files


def with_state(path, change):
    """Save an unfitted estimator with a changed state."""
    save(EBMDensityEstimator(), path)
    arrays, words = _tensor_file.read(path)
    about = json.loads(words["skebm"])
    change(about)
    _tensor_file.write(path, arrays, {"skebm": json.dumps(about)})


@pytest.mark.parametrize(
    "named",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "skebm.persistence._files.os",
        "skebm.persistence._encoding.torch",
        "skebm.utils.draw_seed",
        "sklearn.svm.SVC",
    ],
)
@pytest.mark.parametrize("how", ["new", "call", "class"])
def test_a_file_that_names_foreign_code_is_refused(named, how, tmp_path):
    about = {"class": named, "how": how, "args": ["true"], "state": None}
    part = {"$class": named} if how == "class" else {"$object": about}

    def change(file):
        file["estimator"]["$object"]["args"] = [part]

    with_state(tmp_path / "x", change)
    with pytest.raises(TypeError, match=f"{named} is no class of skebm"):
        load(tmp_path / "x")


def test_a_later_format_is_told(tmp_path):
    with_state(tmp_path / "x", lambda file: file.update(format=99, skebm="9.0"))
    with pytest.raises(ValueError, match=r"by skebm 9\.0, in format 99.*up to 2"):
        load(tmp_path / "x")


def test_a_state_of_a_later_version_is_told(tmp_path):
    def change(file):
        pairs = file["estimator"]["$object"]["state"]["$dict"]
        pairs.append(["_skebm_format", 99])

    with_state(tmp_path / "x", change)
    with pytest.raises(ValueError, match="in format 99"):
        load(tmp_path / "x")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04\x95",
        b"PK\x03\x04 a zip file of some other program",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 10**15) + b"{}",
        struct.pack("<Q", 66)
        + b'{"a":{"dtype":"F64","shape":[9],"data_offsets":[0,72]},"b":null}  ',
    ],
)
def test_a_foreign_file_is_told(data, tmp_path):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match=r"x is no safetensors file\. skebm\."):
        load(tmp_path / "x")


def test_a_safetensors_file_of_another_program_is_told(tmp_path):
    _tensor_file.write(tmp_path / "x", {"a": np.arange(3)}, {"format": "pt"})
    with pytest.raises(ValueError, match="of another program"):
        load(tmp_path / "x")


def test_a_damaged_file_is_told(tmp_path):
    save(MODELS["rbm"](), tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(data[:-100])
    with pytest.raises(ValueError, match="no safetensors file"):
        load(tmp_path / "x")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    save(EBMDensityEstimator(), tmp_path / "x")
    before = (tmp_path / "x").read_bytes()

    def fail(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(_tensor_file.os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        save(EBMDensityEstimator(max_iter=3), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_every_kind_of_value_comes_back(tmp_path):
    """As the option of an estimator, which is stored unchanged."""
    shared = np.arange(6.0).reshape(2, 3)
    record = np.zeros(3, dtype=[("a", "<i8"), ("b", "<f4")])
    value = {
        "plain": [None, True, 3, 2**70, -0.5, "word", ""],
        ("tuple", 1): (float("inf"), -float("inf"), b"bytes"),
        2: {"set": {1, 2}, "frozen": frozenset("ab")},
        "arrays": [shared, shared, np.array(["a", "bcd"]), np.array(3, np.int8)],
        "objects": np.array([1, "a", None, (2,)], dtype=object),
        "times": np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
        "record": record,
        "scalars": [np.float32(1.5), np.int64(7), np.bool_(True), np.str_("x")],
        "transposed": shared.T,
        "empty": np.zeros((0, 4), dtype=np.float16),
        "parts": [np.dtype("f4"), torch.device("cpu"), MLP, VERA(0.5), pd.NA],
        "tensor": torch.arange(3),
    }
    save(EBMDensityEstimator(categorical_features=value), tmp_path / "x")
    found = load(tmp_path / "x").categorical_features
    assert found.keys() == value.keys()
    assert found["plain"] == value["plain"]
    assert found["tuple", 1] == value["tuple", 1]
    assert found[2] == value[2]
    for key in ("objects", "times", "record", "transposed", "empty"):
        assert found[key].dtype == value[key].dtype
        np.testing.assert_array_equal(found[key], value[key])
    for one, other in zip(found["arrays"], value["arrays"], strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert found["arrays"][0] is found["arrays"][1]
    assert [type(x) for x in found["scalars"]] == [type(x) for x in value["scalars"]]
    assert found["scalars"] == value["scalars"]
    dtype, device, kind, objective, missing = found["parts"]
    assert dtype == np.float32
    assert device == torch.device("cpu")
    assert kind is MLP
    assert repr(objective) == repr(VERA(0.5))
    assert missing is pd.NA
    assert found["tensor"].tolist() == [0, 1, 2]
    assert _files.FILE_FORMAT == 2


def test_tensors_come_back_as_they_are_and_shared_ones_shared(tmp_path):
    shared = torch.arange(1000, dtype=torch.float64)
    trained = torch.nn.Parameter(torch.ones(2), requires_grad=True)
    halves = torch.tensor([1.5, -2.25], dtype=torch.bfloat16)
    value = [shared, shared, trained, torch.nn.Parameter(halves, False), halves]
    save(EBMDensityEstimator(categorical_features=value), tmp_path / "x")
    assert (tmp_path / "x").stat().st_size < 2 * shared.nbytes
    found = load(tmp_path / "x").categorical_features
    assert found[0] is found[1]
    assert [type(x) for x in found] == [type(x) for x in value]
    assert [x.requires_grad for x in found] == [x.requires_grad for x in value]
    for one, other in zip(found, value, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_files_of_the_format_before_load(tmp_path):
    """They had plain tensors alone, as they are written still."""
    with_state(tmp_path / "x", lambda file: file.update(format=1))
    assert isinstance(load(tmp_path / "x"), EBMDensityEstimator)


def test_a_file_keeps_its_permissions(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"old")
    file.chmod(0o640)
    _tensor_file.replace_file(file, b"new")
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o640
