"""Where a name in the pages leads: to a class, function or method of the API.

A page may call a class by its bare name, `NCE`, and a method, `score_samples`, without
its class: that of the estimator the page is about. `tests/test_site.py` holds that
every name in the guide leads somewhere.
"""

import importlib
import inspect

ROOMS = (
    "composition",
    "datasets",
    "evaluation",
    "exceptions",
    "inspection",
    "model_selection",
    "networks",
    "objectives",
    "persistence",
    "references",
    "samplers",
    "training",
)
#: The estimator whose methods a page means; others mean the density's first.
ABOUT = {
    "user_guide/boltzmann_machines": "BernoulliRBM",
    "user_guide/regression": "JEMRegressor",
    "user_guide/semi_supervised": "JEMClassifier",
    "user_guide/drift": "DriftMonitor",
    "user_guide/samplers": "AbstractSampler",
}
#: Classes of scikit-learn that the pages name, by module.
SKLEARN = {
    "calibration": "CalibratedClassifierCV",
    "ensemble": "AdaBoostClassifier BaggingClassifier HistGradientBoostingClassifier "
    "IsolationForest RandomForestClassifier RandomForestRegressor StackingClassifier "
    "VotingClassifier",
    "experimental": "",
    "frozen": "FrozenEstimator",
    "gaussian_process": "GaussianProcessRegressor",
    "impute": "IterativeImputer KNNImputer SimpleImputer",
    "linear_model": "BayesianRidge LogisticRegression RidgeCV",
    "mixture": "GaussianMixture",
    "model_selection": "FixedThresholdClassifier GridSearchCV HalvingGridSearchCV "
    "KFold TunedThresholdClassifierCV cross_val_predict cross_val_score learning_curve",
    "inspection": "permutation_importance",
    "multiclass": "OneVsOneClassifier OneVsRestClassifier OutputCodeClassifier",
    "multioutput": "MultiOutputClassifier",
    "neighbors": "KernelDensity",
    "pipeline": "Pipeline",
    "preprocessing": "FunctionTransformer OneHotEncoder PowerTransformer "
    "QuantileTransformer",
    "semi_supervised": "LabelSpreading SelfTrainingClassifier",
    "svm": "OneClassSVM",
    "base": "clone",
}
OF_SKLEARN = {
    name: f"sklearn.{module}.{name}"
    for module, names in SKLEARN.items()
    for name in names.split()
}


def public_names():
    """Return the full name of each public class and function by its bare name."""
    names = {}
    for room in ROOMS:
        try:
            module = importlib.import_module(f"skebm.{room}")
        except ModuleNotFoundError:
            continue
        for name in getattr(module, "__all__", vars(module)):
            value = getattr(module, name)
            if (inspect.isclass(value) or callable(value)) and name not in OF_SKLEARN:
                names.setdefault(name, f"skebm.{room}.{name}")
    top = importlib.import_module("skebm")
    return names | {name: f"skebm.{name}" for name in top.__all__}


def methods_of(full_name):
    """Return the public methods of a class by its full name."""
    module, _, name = full_name.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    return {
        member
        for member in dir(kind)
        if not member.startswith("_") and callable(getattr(kind, member, None))
    }


def target(name, page=""):
    """Return the full name that a name on a page leads to, or None.

    Parameters
    ----------
    name : str
        As it is written on the page.
    page : str, default=""
        Name of the page, without its ending.
    """
    name = name.removesuffix("()")
    if name in OF_SKLEARN:
        return OF_SKLEARN[name]
    if name.startswith(("numpy.", "skebm.", "sklearn.", "torch.")):
        # A module of scikit-learn has no page by its name.
        is_object = name.count(".") > 1 or name.rpartition(".")[2][0].isupper()
        is_object |= name.removeprefix("skebm.") in ROOMS or name.startswith("numpy.")
        return name if is_object else None
    names = public_names()
    first, _, method = name.partition(".")
    if method:
        full = names.get(first)
        return f"{full}.{method}" if full and method in methods_of(full) else None
    if name in names and name != "transform":
        return names[name]
    top = [full for full in names.values() if full.count(".") == 1]
    about = [names[ABOUT[page]]] if page in ABOUT else []
    density = [names["EBMDensityEstimator"], names["JEMClassifier"]]
    for full in [*about, *density, *top]:
        if name in methods_of(full):
            return f"{full}.{name}"
    return None


def address(full_name):
    """Return the page of another library about one of its names, or None."""
    if full_name.startswith("sklearn."):
        return f"https://scikit-learn.org/stable/modules/generated/{full_name}.html"
    if full_name.startswith("numpy."):
        return f"https://numpy.org/doc/stable/reference/generated/{full_name}.html"
    if full_name.startswith("torch."):
        return f"https://pytorch.org/docs/stable/generated/{full_name}.html"
    return None
