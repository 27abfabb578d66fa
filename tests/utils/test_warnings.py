"""A warning names the line that called the package, however deep it arises."""

import sys
import warnings

import pytest
import torch

from skebm.exceptions import TrainingWarning
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
