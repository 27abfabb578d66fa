"""Properties of options: of any type, they are refused by name or training begins."""

from inspect import isclass, signature
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from strategies import ESTIMATORS, draw_rows, fit, odd_values

from skebm.objectives import OBJECTIVES
from skebm.objectives._resolve import resolve_objective
from skebm.training import Loop

#: Those whose number of units a table of weights has.
RBMS = ("binary", "real", "softmax", "labelled")
OPTIONS = sorted(
    (name, option)
    for name, build in ESTIMATORS.items()
    for option in build().get_params(deep=False)
)


class Begun(Exception):
    """Training has begun."""


def sensible(name, value):
    """Tell whether a number of units would fit into memory."""
    return name not in RBMS or not (isinstance(value, int | float) and value > 1000)


@given(st.sampled_from(OPTIONS), odd_values)
def test_an_option_of_any_type_is_refused_by_name_or_training_begins(where, value):
    name, option = where
    if not sensible(name, value):
        return
    X = draw_rows(name, 0, 20, 2)
    with mock.patch.object(Loop, "fit", side_effect=Begun):
        try:
            fit(name, ESTIMATORS[name]().set_params(**{option: value}), X)
        except (ValueError, TypeError) as error:
            assert option in str(error), (where, value)
        except Begun:
            pass


@given(st.sampled_from(OPTIONS), odd_values)
def test_a_clone_has_the_same_options(where, value):
    name, option = where
    model = ESTIMATORS[name]().set_params(**{option: value})
    assert model.get_params()[option] is value
    copied = clone(model).get_params()[option]
    assert type(copied) is type(value)
    assert "object at" in repr(value) or repr(copied) == repr(value)


OF_OBJECTIVES = sorted(
    (name, option)
    for name, kind in OBJECTIVES.items()
    if isclass(kind)
    for option in signature(kind).parameters
)


@given(st.sampled_from(OF_OBJECTIVES), odd_values)
def test_an_option_of_an_objective_is_refused_by_name_or_taken(where, value):
    name, option = where
    try:
        resolved = resolve_objective(OBJECTIVES[name](**{option: value}))
    except ValueError as error:
        assert f"'{option}' parameter of" in str(error)
        return
    taken = resolved.get_params()[option]
    assert not isinstance(taken, np.generic)
    if isinstance(taken, float):
        assert taken == pytest.approx(taken), "NaN was taken"
