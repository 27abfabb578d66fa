"""The house rules: estimators read, ask and write; files and functions stay short."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

import skebm
import skebm.estimators

ROOT = Path(skebm.__file__).parent
TESTS = Path(__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
ESTIMATORS = [getattr(skebm, name) for name in skebm.__all__]
#: Private methods that an estimator may override: scikit-learn's protocol.
OVERRIDABLE = {
    "__copy__",
    "__getstate__",
    "__init__",
    "__setstate__",
    "__sklearn_tags__",
}
#: Most private attributes of a fitted estimator.
MAX_PRIVATE = 3
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60


def name_of(path):
    return str(path.relative_to(ROOT))


def own_classes(estimator):
    return [k for k in estimator.__mro__ if k.__module__.startswith("skebm.")]


def functions_of(kind):
    return {n for n, v in vars(kind).items() if inspect.isfunction(v)}


# ------------------------------------------------------------------ estimators


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_private_method_of_a_base_is_overridden(estimator):
    seen = {}
    for kind in reversed(own_classes(estimator)):
        for name in functions_of(kind):
            if name.startswith("_") and name not in OVERRIDABLE:
                assert name not in seen, f"{kind.__name__}.{name} hides {seen[name]}'s"
                seen[name] = kind.__name__


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_at_most_one_mixin_of_ours(estimator):
    mixins = [
        kind.__name__
        for kind in own_classes(estimator)
        if not issubclass(kind, skebm.estimators._stored.StoredEstimator)
    ]
    assert len(mixins) <= 1, mixins


def fitted(estimator):
    rng = np.random.RandomState(0)
    X = (rng.uniform(size=(40, 3)) > 0.5).astype(float)
    y = np.where(np.arange(40) % 2, X[:, 0].astype(int), -1)
    options = {
        "EBMDensityEstimator": {"max_iter": 1, "reference": "gaussian"},
        "JEMClassifier": {"max_iter": 1, "stacking": False, "normalizer": None},
        "DeepBeliefNetwork": {"hidden_layer_sizes": (3, 2), "n_iter": 1},
    }
    name = estimator.__name__
    model = estimator(random_state=0, **options.get(name, {"n_iter": 1}))
    return model.fit(X, y) if "Classifier" in name else model.fit(X)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_fitted_estimator_holds_few_private_attributes(estimator):
    private = [
        name
        for name in vars(fitted(estimator))
        # scikit-learn's own: callbacks, and the width of a transformer's output
        if name.startswith("_") and not name.startswith(("_skl", "_n_features_out"))
    ]
    assert len(private) <= MAX_PRIVATE, private


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nobody_writes_the_attributes_of_an_object_wholesale(path):
    assert "__dict__" not in path.read_text()


# ---------------------------------------------------------------- capabilities


def classes_in(room):
    return {
        node.name: path
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }


NETS_AND_REFERENCES = classes_in("networks") | classes_in("references")
#: Roots of a hierarchy: what an option may be is told by them.
ROOTS = {"Density", "Reference"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nets_and_references_are_asked_not_typed(path):
    """By what they can do, not by which class they are of. Options may be."""
    tree = ast.parse(path.read_text())
    options = {
        id(call)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "check_options"
        for call in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id != "isinstance" or id(node) in options:
            continue
        kinds = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
        ours = kinds & (NETS_AND_REFERENCES.keys() - ROOTS)
        elsewhere = [k for k in ours if NETS_AND_REFERENCES[k] != path]
        assert not elsewhere, f"{name_of(path)}:{node.lineno} asks for {elsewhere}"


# ------------------------------------------------------------------- measures


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_fits_in_a_readers_head(path):
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES


def body_lines(function):
    """Return the lines of a function without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_function_fits_on_a_screen(path):
    for node in ast.walk(ast.parse(path.read_text())):
        # A constructor of scikit-learn's kind is two lines an option.
        if isinstance(node, ast.FunctionDef) and node.name != "__init__":
            where = f"{name_of(path)}:{node.lineno} {node.name}"
            assert body_lines(node) <= MAX_FUNCTION_LINES, where


def test_the_median_file_is_short():
    lengths = sorted(len(path.read_text().splitlines()) for path in FILES)
    assert lengths[len(lengths) // 2] <= 200


def test_tests_are_laid_out_like_the_package():
    """Each folder of tests is one of the package; `golden` holds scores of all."""
    for folder in {path.parent for path in TESTS.rglob("test_*.py")}:
        place = folder.relative_to(TESTS)
        assert place == Path("golden") or (ROOT / place).is_dir(), place
    rooms = {
        path.parent.relative_to(ROOT).parts[0] for path in FILES if path.parent != ROOT
    }
    tested = {path.name for path in TESTS.iterdir() if path.is_dir()}
    assert rooms <= tested
