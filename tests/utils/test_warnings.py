"""A warning names the line that called the package, however deep it arises."""

import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skebm import BernoulliRBM
from skebm.exceptions import RangeWarning, TrainingWarning
from skebm.utils import warn_user

MODULE = {"__name__": "skebm.estimators._made_up", "warn_user": warn_user}
SOURCE = """
import torch
from skebm.exceptions import TrainingWarning

def public():
    _private()

def _private():
    _deeper()

@torch.no_grad()
def _deeper():
    warn_user("Interrupted.", TrainingWarning)
"""


@pytest.fixture
def public():
    names = dict(MODULE)
    exec(compile(SOURCE, "made_up.py", "exec"), names)
    return names["public"]


def test_names_the_callers_file_and_line(public):
    with pytest.warns(TrainingWarning, match=r"Interrupted\.") as caught:
        public()
        line = sys._getframe().f_lineno - 1
    assert [(w.filename, w.lineno) for w in caught] == [(__file__, line)]


def test_skips_wrappers_of_torch(public):
    with pytest.warns(TrainingWarning) as caught:
        torch.no_grad()(public)()
    assert caught[0].filename == __file__


def test_a_call_from_outside_names_itself():
    with pytest.warns(TrainingWarning) as caught:
        warn_user("Interrupted.", TrainingWarning)
    assert caught[0].filename == __file__


def test_can_be_turned_into_an_error(public):
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        with pytest.raises(TrainingWarning, match="Interrupted"):
            public()


@pytest.mark.parametrize("search", [False, True])
def test_an_estimator_in_a_pipeline_names_the_callers_file(search):
    model = make_pipeline(StandardScaler(), BernoulliRBM(n_iter=1, random_state=0))
    if search:
        grid = {"bernoullirbm__n_components": [2]}
        model = GridSearchCV(model, grid, cv=2, scoring=lambda model, X: 0.0)
    with pytest.warns(RangeWarning, match=r"outside of \[0, 1\]") as caught:
        model.fit(np.random.RandomState(0).uniform(size=(20, 3)))
    assert {w.filename for w in caught} == {__file__}
