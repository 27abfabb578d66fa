"""Classes that stored estimators may hold."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from pathlib import Path

#: Classes of scikit-learn that fitted regressors hold: their simple learners.
OF_SCIKIT_LEARN = frozenset(
    {
        "sklearn._loss._loss.CyHalfSquaredError",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn.dummy.DummyRegressor",
        "sklearn.ensemble._forest.ExtraTreesRegressor",
        "sklearn.ensemble._forest.RandomForestRegressor",
        "sklearn.ensemble._gb.GradientBoostingRegressor",
        "sklearn.linear_model._ridge.RidgeCV",
        "sklearn.tree._classes.DecisionTreeRegressor",
        "sklearn.tree._classes.ExtraTreeRegressor",
        "sklearn.tree._tree.Tree",
    }
)
#: Values of options that skops asks about.
OF_OPTIONS = frozenset({"functools.partial", "torch.device"})


def trusted_types():
    """Names of the classes that a stored estimator of skebm may hold.

    Pass them to ``skops.io.load(file, trusted=...)``. They are the classes of this
    package, those of scikit-learn that `JEMRegressor` keeps, and the types of options
    such as ``network=functools.partial(MLP, hidden_features=(64,))``. A net, an
    objective or another part of your own is not among them: add its name.

    Returns
    -------
    names : list of str
        Module and class, sorted.

    Examples
    --------
    >>> from skebm.persistence import trusted_types
    >>> "skebm.objectives.noise_contrastive._nce.NCE" in trusted_types()
    True
    """
    return sorted(OF_SCIKIT_LEARN | OF_OPTIONS | _own_names())


@cache
def _own_names():
    """Return the names of all classes that the package defines."""
    names = set()
    for module in pkgutil.walk_packages([Path(__file__).parents[1]], "skebm."):
        for name, kind in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(kind) and kind.__module__ == module.name:
                names.add(f"{module.name}.{name}")
    return frozenset(names)


def name_of(kind):
    """Return the name of a class or function."""
    return f"{kind.__module__}.{kind.__qualname__}"


def find_class(name, trusted):
    """Return the class of a name: of skebm, of the list, or a trusted one.

    No module is imported but those of skebm and of the list.

    Raises
    ------
    TypeError
        Where it is none of these.
    """
    known = {name_of(kind): kind for kind in trusted}
    if name in known:
        return known[name]
    module, _, attribute = name.rpartition(".")
    if name in OF_SCIKIT_LEARN or module.startswith("skebm."):
        kind = getattr(importlib.import_module(module), attribute, None)
        if inspect.isclass(kind) and name_of(kind) == name:
            return kind
    raise TypeError(
        f"{name} is no class of skebm. If it is your own and you trust the file, pass "
        "the class: trusted=[...]."
    )
