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
        if kind is not estimator
        and not issubclass(kind, skebm.estimators._stored.StoredEstimator)
    ]
    assert len(mixins) <= 1, mixins


def fitted(estimator):
    rng = np.random.RandomState(0)
    X = (rng.uniform(size=(40, 3)) > 0.5).astype(float)
    y = np.where(np.arange(40) % 2, X[:, 0].astype(int), -1)
    options = {
        "EBMDensityEstimator": {"max_iter": 1, "reference": "gaussian"},
        "EBMImputer": {"estimator": skebm.EBMDensityEstimator(max_iter=1)},
        "JEMRegressor": {"max_iter": 1, "reference": "gaussian", "experts": ["linear"]},
        "JEMClassifier": {"max_iter": 1, "stacking": False, "normalizer": None},
        "DeepBeliefNetwork": {"hidden_layer_sizes": (3, 2), "n_iter": 1},
    }
    name = estimator.__name__
    model = estimator(random_state=0, **options.get(name, {"n_iter": 1}))
    labeled = "Classifier" in name or "Regressor" in name
    return model.fit(X, y) if labeled else model.fit(X)


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
    for node in ast.walk(ast.parse(path.read_text())):
        writes = isinstance(node, ast.Attribute) and node.attr == "update"
        writes |= isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
        if writes and isinstance(node.value, ast.Call):
            function = node.value.func
            named_vars = isinstance(function, ast.Name) and function.id == "vars"
            assert not named_vars, f"{name_of(path)}:{node.lineno} writes vars()"


# --------------------------------------------------------------- private parts

#: Private names of libraries, which have no public ones for it.
OF_LIBRARIES = {
    "_getframe",  # sys
    "_init_callback_context",  # scikit-learn's callbacks
    "_parameter_constraints",  # scikit-learn's validation: a base's with one's own
    "_validate_args",  # torch.distributions
}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names_of(tree):
    """Return the private names that a file defines: of modules, classes and selves."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                names.add(node.attr)
    return {name for name in names if is_private(name)}


def is_own(node, imported):
    """Tell whether an object may be one of this file: no imported class or module."""
    root = ast.unparse(node).split(".")[0].split("(")[0]
    return root not in imported


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_private_parts_are_used_in_their_own_file(path):
    """Beside `self._name`, `_name` is used only where it is defined."""
    tree = ast.parse(path.read_text())
    own = private_names_of(tree)
    imported = {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and is_private(node.attr)):
            continue
        if ast.unparse(node.value) in ("self", "cls", "super()"):
            continue
        if node.attr not in OF_LIBRARIES:
            where = f"{name_of(path)}:{node.lineno} {ast.unparse(node)}"
            assert node.attr in own and is_own(node.value, imported), where


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_private_name_is_imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("skebm"):
            folder = ROOT.parent.joinpath(*node.module.split("."))
            names = [alias.name for alias in node.names if is_private(alias.name)]
            assert all((folder / f"{name}.py").exists() for name in names), names


# ---------------------------------------------------------------- capabilities


def classes_in(room):
    return {
        node.name: path
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }


NETS_AND_REFERENCES = classes_in("networks") | classes_in("references")
#: Roots of a hierarchy: they tell what an option may be.
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
        asked = list(ast.walk(node.args[1]))
        kinds = {n.id for n in asked if isinstance(n, ast.Name)}
        kinds |= {n.attr for n in asked if isinstance(n, ast.Attribute)}
        ours = kinds & (NETS_AND_REFERENCES.keys() - ROOTS)
        elsewhere = [k for k in ours if NETS_AND_REFERENCES[k] != path]
        assert not elsewhere, f"{name_of(path)}:{node.lineno} asks for {elsewhere}"


def declared_in(room):
    """Return the public names that the classes of a room declare."""
    names = set()
    for path in (ROOT / room).rglob("*.py"):
        for kind in ast.walk(ast.parse(path.read_text())):
            for node in kind.body if isinstance(kind, ast.ClassDef) else []:
                if isinstance(node, ast.FunctionDef):
                    names.add(node.name)
                elif isinstance(node, ast.AnnAssign):
                    names.add(ast.unparse(node.target))
                elif isinstance(node, ast.Assign):
                    names |= {ast.unparse(target) for target in node.targets}
    return names


CAPABILITIES = declared_in("networks") | declared_in("references")
#: The only files that read capabilities with a default.
ASKING = ("networks/_capabilities.py", "references/_base.py")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_capabilities_are_read_with_a_default_in_two_files(path):
    """Everywhere else they are declared, or read by functions of these files."""
    if name_of(path) in ASKING:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        n_arguments = {"getattr": 3, "hasattr": 2}.get(node.func.id)
        if len(node.args) == n_arguments and isinstance(node.args[1], ast.Constant):
            where = f"{name_of(path)}:{node.lineno} {ast.unparse(node)}"
            assert node.args[1].value not in CAPABILITIES, where


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
    """Each folder of tests is one of the package; some hold tests of all of it."""
    for folder in {path.parent for path in TESTS.rglob("test_*.py")}:
        place = folder.relative_to(TESTS)
        of_all = str(place) in ("golden", "properties", "device")
        assert of_all or (ROOT / place).is_dir(), place
    rooms = {
        path.parent.relative_to(ROOT).parts[0] for path in FILES if path.parent != ROOT
    }
    tested = {path.name for path in TESTS.iterdir() if path.is_dir()}
    assert rooms <= tested
