"""The walks of CONTRIBUTING.md, followed to the letter, and what else it claims."""

import ast
import importlib
import importlib.util
import pickle
import re
import sys
import tomllib
import types
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skebm import EBMDensityEstimator
from skebm.networks import MLP
from skebm.tables import COLUMN_KINDS, TableEncoder

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PROSE = re.sub(r"^```python\n.*?^```", "", TEXT, flags=re.DOTALL | re.MULTILINE)
#: A fast fit.
FAST = {
    "network": partial(MLP, hidden_features=(16,)),
    "reference": "gaussian",
    "random_state": 0,
}


def section(start):
    """Return the text below the heading that begins so."""
    (found,) = [s for s in TEXT.split("\n## ") if s.startswith(start)]
    return found


def blocks(start):
    """Return the file and the code of each block of Python in a section."""
    pattern = r"^```python\n# file: (\S+)\n(.*?)^```"
    found = re.findall(pattern, section(start), flags=re.DOTALL | re.MULTILINE)
    assert len(found) == section(start).count("```python")
    return found


def load_test(path):
    """Return a file of the tests as a module."""
    spec = importlib.util.spec_from_file_location(
        f"read_{Path(path).stem}", ROOT / path
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(path):
    """Return a file of the repository as a module."""
    if path.startswith("tests/"):
        return load_test(path)
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return importlib.import_module(name)


def write(path, code, patch):
    """Return the module of a new file."""
    assert (ROOT / path).parent.is_dir()
    module = types.ModuleType(path.removesuffix(".py").replace("/", "."))
    exec(compile(code, path, "exec"), vars(module))
    patch.setitem(sys.modules, module.__name__, module)
    return module


def edit(path, code, patch):
    """Return the module of a file that is there, with new names.

    A dict of rows is left for the caller: the order of a table must come back.
    """
    module, new = load(path), {}
    exec(compile(code, path, "exec"), dict(vars(module)), new)
    tables = {name: new.pop(name) for name in list(new) if isinstance(new[name], dict)}
    for name, value in new.items():
        patch.setattr(module, name, value, raising=False)
    return module, [(getattr(module, name), rows) for name, rows in tables.items()]


@contextmanager
def followed(number):
    """Follow a walk, and go back: yield the modules that it wrote or edited."""
    modules, before = {}, []
    with pytest.MonkeyPatch.context() as patch:
        try:
            for path, code in blocks(f"Walk {number}:"):
                if not (ROOT / path).exists():
                    modules[path] = write(path, code, patch)
                    continue
                modules[path], tables = edit(path, code, patch)
                for table, rows in tables:
                    before.append((table, dict(table)))
                    others = {k: v for k, v in table.items() if k not in rows}
                    table.clear()
                    table.update(others | rows)
            yield modules
        finally:
            for table, rows in reversed(before):
                table.clear()
                table.update(rows)


@pytest.fixture
def follow():
    """Follow a walk, until the end of the test."""
    with ExitStack() as stack:
        yield lambda number: stack.enter_context(followed(number))


# ------------------------------------------------------------------- the walks


def test_add_an_objective(follow):
    modules = follow(1)
    contract = modules["tests/objectives/test_objective_contract.py"]
    tests = [t for name, t in vars(contract).items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test("nwj")

    rng = np.random.RandomState(0)
    X, T = (rng.choice([-2, 2], (600, 1)) + rng.normal(0, 0.5, (600, 1)) for _ in "ab")
    model = EBMDensityEstimator(objective="nwj", reference="gaussian", max_iter=10)
    model.set_params(random_state=0).fit(X)
    untrained = norm(X.mean(), X.std()).logpdf(T).mean()
    assert model.score(T) > untrained + 0.3
    assert "mean_ratio" in model.history_
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.score_samples(T), model.score_samples(T))


def test_an_objectives_option_is_checked(follow):
    objective = follow(1)["skebm/objectives/_nwj.py"].NWJ(noise_ratio=0)
    with pytest.raises(ValueError, match="noise_ratio"):
        EBMDensityEstimator(objective).fit(np.eye(4))


@pytest.fixture
def grades():
    rng = np.random.RandomState(0)
    grade = rng.choice([1, 2, 3, 5], p=[0.4, 0.3, 0.2, 0.1], size=500)
    return np.c_[grade, rng.normal(2 * grade, 1)].astype(float)


def test_add_a_kind_of_column(follow, grades):
    Ordinal = follow(2)["skebm/tables/_ordinal.py"].Ordinal
    encoder = TableEncoder.fit(grades)
    assert isinstance(encoder.kinds[0], Ordinal)
    assert encoder.kinds[0].columns.tolist() == [0]
    np.testing.assert_allclose(encoder.decode(encoder.encode(grades)), grades, 1e-5)
    assert np.isnan(encoder.encode(np.array([[np.nan, 1.0]]))[0, 0])
    again = TableEncoder.from_arrays(encoder.to_arrays())
    np.testing.assert_array_equal(again.encode(grades), encoder.encode(grades))

    grade = grades[:, :1]
    model = EBMDensityEstimator("nce", **FAST, max_iter=10).fit(grade)
    mass = np.exp(model.score_samples(np.arange(1.0, 6.0)[:, None]))
    share = np.bincount(grade[:, 0].astype(int), minlength=6)[1:] / len(grade)
    assert mass.sum() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(mass, share, atol=0.05)
    assert set(model.sample(50, random_state=0).ravel()) <= {1, 2, 3, 4, 5}


def test_a_kind_of_column_beside_numbers(follow, grades):
    follow(2)
    model = EBMDensityEstimator("nce", **FAST, max_iter=10).fit(grades)
    line, width = np.linspace(-6, 20, 150, retstep=True)
    points = [np.c_[np.full(150, float(g)), line] for g in range(1, 6)]
    mass = np.exp(model.score_samples(np.concatenate(points))).sum() * width
    assert mass == pytest.approx(1, abs=0.02)
    assert model.impute([[np.nan, 10.0]])[0, 0] == 5
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        copy.score_samples(grades[:5]), model.score_samples(grades[:5])
    )


def test_numbers_claim_what_is_left():
    assert list(COLUMN_KINDS)[-1] == "numbers"


def test_add_an_outlier_score(follow):
    follow(3)
    rng = np.random.RandomState(0)
    X = rng.normal(size=(1000, 2)) @ [[1, 0.9], [0, 0.3]]
    model = EBMDensityEstimator(ood_score="mahalanobis", **FAST, max_iter=2).fit(X)
    T = np.r_[X[:50], [[2.0, -2.0]]]  # each column by itself is normal
    scores = model.ood_scores(T)
    inverse = np.linalg.inv(np.cov(X.T))
    expected = -np.einsum("ij,jk,ik->i", T - X.mean(0), inverse, T - X.mean(0))
    np.testing.assert_allclose(scores, expected, rtol=0.2, atol=0.5)
    assert scores.argmin() == 50 and scores[50] < model.offset_
    assert model.predict(T)[50] == -1
    assert np.mean(model.predict(X) == -1) < 0.1
    assert 0 < model.p_values(T)[50] < 0.05
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.ood_scores(T), scores)
    model.set_params(ood_score="typicality")  # free scores may change after fit
    assert np.isfinite(model.ood_scores(T)).all()


def test_add_an_estimator(follow):
    GapFiller = follow(4)["skebm/estimators/_gap_filler.py"].GapFiller
    house = load_test("tests/test_house.py")
    house.test_no_private_method_of_a_base_is_overridden(GapFiller)
    house.test_at_most_one_mixin_of_ours(GapFiller)

    rng = np.random.RandomState(0)
    X = rng.normal(size=(200, 2))
    X[:, 1] = 2 * X[:, 0] + 0.1 * X[:, 1]
    truth = X.copy()
    X[::100, 1] = np.nan
    model = GapFiller("nce", max_iter=3, random_state=0)
    assert model.get_params()["strategy"] == "mean"
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.transform(X)
    filled = model.fit(X).transform(X)
    np.testing.assert_allclose(filled, truth, atol=0.5)
    np.testing.assert_array_equal(filled[1], X[1])
    T = truth[:5]
    scores = model.score_samples(T)
    assert (scores > model.score_samples(T + np.eye(2)[1])).all()
    assert model.get_feature_names_out().tolist() == ["x0", "x1"]
    private = {n for n in vars(model) if n.startswith("_") and n[:4] != "_skl"}
    assert private == {"_fitted", "_reader"}
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.score_samples(T), scores)
    with pytest.raises(ValueError, match="strategy"):
        GapFiller(strategy="mode").fit(X)


def test_a_walk_leaves_nothing_behind():
    before = list(COLUMN_KINDS)
    with followed(2):
        assert len(COLUMN_KINDS) == len(before) + 1
        assert "skebm.tables._ordinal" in sys.modules
    assert list(COLUMN_KINDS) == before
    assert "skebm.tables._ordinal" not in sys.modules


@pytest.mark.parametrize("number", [1, 2, 3])
def test_new_files_of_typed_packages_have_type_hints(number):
    typed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    for path, code in blocks(f"Walk {number}:"):
        package = ".".join(path.split("/")[:2])
        if (ROOT / path).exists() or package not in typed["packages"]:
            continue
        methods = [n for n in ast.walk(ast.parse(code)) if hasattr(n, "returns")]
        assert methods
        for method in methods:
            hints = [argument.annotation for argument in method.args.args[1:]]
            assert all([*hints, method.returns]), f"{path}: {method.name}"


# -------------------------------------------------------------------- the rest


def exists(path):
    return (ROOT / path).exists() or (ROOT / "skebm" / path).exists()


def is_path(word):
    return re.fullmatch(r"[\w./]+", word) and (
        "/" in word or word.endswith((".py", ".md"))
    )


def test_every_path_exists():
    paths = {word for word in re.findall(r"`([^`\n]+)`", PROSE) if is_path(word)}
    assert len(paths) > 30
    assert not [path for path in paths if not exists(path)]


def test_the_floors_are_those_of_the_layering_test():
    drawn = []
    for number, names in re.findall(r"^ +(\d*) *\| ([\w, ]+)\|", TEXT, re.MULTILINE):
        drawn += [(int(number), [])] if number else []
        if drawn:  # a floor may take two lines
            drawn[-1][1].extend(re.findall(r"\w+", names))
    assert [number for number, _ in drawn] == list(range(len(drawn)))[::-1]
    rooms = [sorted(names) for _, names in reversed(drawn)]
    floors = load_test("tests/test_layering.py").FLOORS
    assert rooms == [sorted(floor) for floor in floors]


@pytest.mark.parametrize("what", ["EBMDensityEstimator.fit", "score_samples"])
def test_the_names_on_the_way_of_X_are_in_their_files(what):
    text = section(f"How X walks through `{what}`")
    steps = re.findall(r"^\d+\. (.*?)(?=^\d+\. |^$|\Z)", text, re.DOTALL | re.MULTILINE)
    assert len(steps) >= 8
    for step in steps:
        path, *words = re.findall(r"`([^`]+)`", step)
        code = (ROOT / "skebm" / path).read_text()
        for word in words:
            if not is_path(word):
                missing = [
                    n for n in word.split(".") if not re.search(rf"\b{n}\b", code)
                ]
                assert not missing, f"{path} has no {missing}"


def test_the_folders_of_the_table_are_the_rooms_of_the_package():
    rows = re.findall(r"^\| `(\w+)/` \|", TEXT, flags=re.MULTILINE)
    assert len(rows) == 13
    assert all((ROOT / "skebm" / row).is_dir() for row in rows)
