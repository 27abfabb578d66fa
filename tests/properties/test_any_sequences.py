"""Sequences of calls: whatever came before, an estimator answers as it says."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from strategies import CLASSIFIERS, ESTIMATORS, draw_labels, draw_rows, fit

from skebm.exceptions import SkebmWarning


class Calls(RuleBasedStateMachine):
    """Fits, failed fits, passes, pickles and questions, in any order.

    What is known is `expected`, the scores of fixed rows since the last training that
    succeeded; None before it.
    """

    @initialize(name=st.sampled_from(sorted(ESTIMATORS)))
    def begin(self, name):
        self.name, self.model = name, ESTIMATORS[name]()
        self.rows = draw_rows(name, 0, 6, 3)
        self.expected = None

    def trained(self):
        self.expected = self.scores()
        assert np.isfinite(self.expected).all()

    def scores(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SkebmWarning)
            return self.model.score_samples(self.rows)

    @rule(seed=st.integers(0, 3))
    def fit(self, seed):
        X = draw_rows(self.name, seed, 20, 3)
        fresh = fit(self.name, clone(self.model), X)
        assert fit(self.name, self.model, X) is self.model
        self.trained()
        fresh, self.model = self.model, fresh
        np.testing.assert_array_equal(self.scores(), self.expected)

    @rule(seed=st.integers(0, 3), n=st.integers(8, 20))
    def partial_fit(self, seed, n):
        X = draw_rows(self.name, seed, n, 3)
        y = [draw_labels(seed, n)] if self.name in CLASSIFIERS else []
        assert self.model.partial_fit(X, *y) is self.model
        self.trained()

    @rule(
        wrong=st.sampled_from(["empty", "words", "infinite", "flat", "labels"]),
        method=st.sampled_from(["fit", "partial_fit"]),
    )
    def failed_fit(self, wrong, method):
        X = draw_rows(self.name, 1, 20, 4)  # other columns than those of a fit
        y = draw_labels(1, 20)
        bad = {
            "empty": X[:0],
            "words": np.full(X.shape, "a"),
            "infinite": np.where(X == X[0, 0], np.inf, X),
            "flat": X[0],
            "labels": X,
        }[wrong]
        if wrong == "labels":
            if self.name not in CLASSIFIERS:
                return
            y = np.full(20, -1)
        method = getattr(self.model, method)
        with pytest.raises((ValueError, TypeError)):
            method(bad, y) if self.name in CLASSIFIERS else method(bad)

    @rule(option=st.sampled_from(["random_state", "verbose"]))
    def failed_options(self, option):
        old = self.model.get_params()[option]
        self.model.set_params(**{option: "nonsense"})
        with pytest.raises(ValueError, match=option):
            fit(self.name, self.model, draw_rows(self.name, 1, 20, 3))
        self.model.set_params(**{option: old})

    @rule(how=st.sampled_from(["pickle", "deepcopy", "copy"]))
    def stored(self, how):
        if how == "pickle":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SkebmWarning)
                self.model = pickle.loads(pickle.dumps(self.model))
        else:
            self.model = getattr(copy, how)(self.model)

    @rule(seed=st.integers(0, 3))
    def sample(self, seed):
        if self.expected is None:
            with pytest.raises(NotFittedError):
                self.model.sample(2)
            return
        options = {} if self.name in ("density", "classifier") else {"n_steps": 2}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SkebmWarning)
            drawn = self.model.sample(3, random_state=seed, **options)
        drawn = drawn[0] if isinstance(drawn, tuple) else drawn
        assert np.shape(drawn) == (3, 3)

    @invariant()
    def answers_as_before(self):
        if not hasattr(self, "model"):
            return
        if self.expected is None:
            with pytest.raises(NotFittedError):
                self.scores()
        else:
            np.testing.assert_array_equal(self.scores(), self.expected)
            assert self.model.n_features_in_ == 3


TestCalls = Calls.TestCase
TestCalls.settings = settings(
    stateful_step_count=6, max_examples=2 * settings().max_examples
)
