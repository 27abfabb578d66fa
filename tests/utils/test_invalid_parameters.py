"""Errors about parameters are of one kind, scikit-learn's, whoever raises them."""

import ast
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils._param_validation import InvalidParameterError

import skebm
from skebm import EBMDensityEstimator, JEMClassifier
from skebm.networks import MLP
from skebm.objectives import NCE
from skebm.references import GaussianMixtureReference

FILES = sorted(Path(skebm.__file__).parent.rglob("*.py"))
X = np.random.RandomState(0).normal(size=(30, 2))
FAST = {"reference": "gaussian", "normalizer": None, "max_iter": 1}


@pytest.mark.parametrize(
    "options",
    [
        {"max_iter": 0},  # told by scikit-learn's validation
        {"objective": "no such"},
        {"objective": NCE(noise_ratio=-1)},
        {"reference": "no such"},
        {"reference": GaussianMixtureReference(n_components=0)},
        {"network": "no such"},
        {"network": partial(MLP, hidden_features=0)},
        {"categorical_features": [7]},
        {"sample_weight": np.eye(30)[0]},
    ],
)
@pytest.mark.parametrize("estimator", [EBMDensityEstimator, JEMClassifier])
def test_a_wrong_parameter_is_one_kind_of_error(estimator, options):
    weight = options.get("sample_weight")
    options = {k: v for k, v in options.items() if k != "sample_weight"}
    options = FAST | {"objective": "nce"} | options
    with pytest.raises(InvalidParameterError, match=r"parameter|categorical_features"):
        estimator(**options).fit(X, np.arange(30) % 2, sample_weight=weight)


def test_an_option_of_a_net_is_named_though_its_error_is_a_type_error_too():
    model = EBMDensityEstimator(**FAST, network=partial(MLP, hidden_features=0))
    with pytest.raises(ValueError, match=r"^The 'hidden_features' parameter of MLP"):
        model.fit(X)


def test_the_reference_that_is_expected_may_be_scikit_learns():
    message = "instance of Reference, or GaussianMixture or KernelDensity of scikit-le"
    with pytest.raises(ValueError, match=message):
        EBMDensityEstimator(reference="no such").fit(X)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_file_raises_another_kind(path):
    for node in ast.walk(ast.parse(path.read_text())):
        call = node.exc if isinstance(node, ast.Raise) else None
        if not isinstance(call, ast.Call) or not call.args:
            continue
        text = re.sub(r"^f?['\"]+", "", ast.unparse(call.args[0]))
        if re.match(r"The \\?['{].{0,40} parameter", text):
            assert ast.unparse(call.func) == "InvalidParameterError", text
