"""What RBM estimators make of tables and options as people have them."""

import numpy as np
import pandas as pd
import pytest

from skebm import (
    BernoulliRBM,
    DeepBeliefNetwork,
    GaussianRBM,
    RBMClassifier,
    SoftmaxRBM,
)
from skebm.evaluation import ImportanceSampling, RBMAnnealing

X = (np.random.RandomState(0).uniform(size=(40, 4)) < 0.4).astype(float)
Y = np.arange(40) % 3 - 1
#: One epoch may well be no better than independent columns, of which it would warn.
QUICK = {"n_iter": 1, "early_stopping": False, "random_state": 0}
MAKERS = {
    "bernoulli": lambda **o: BernoulliRBM(3, **QUICK, **o),
    "gaussian": lambda **o: GaussianRBM(3, n_iter=1, random_state=0, **o),
    "softmax": lambda **o: SoftmaxRBM(3, **QUICK, **o),
    "classifier": lambda **o: RBMClassifier(3, n_iter=1, random_state=0, **o),
    "deep": lambda **o: DeepBeliefNetwork((3, 2), n_iter=1, random_state=0, **o),
}
ALONE = [name for name in MAKERS if name != "deep"]
LOWEST = {
    "bernoulli": 3,
    "gaussian": GaussianRBM(3, n_iter=1, normalizer=None),
    "softmax": SoftmaxRBM(3, n_iter=1, normalizer=None),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", MAKERS)
def test_reversed_views_are_tables_like_others(name, dtype):
    table = X.astype(dtype)
    turned = table[::-1, ::-1]
    model = MAKERS[name]().fit(turned, Y[::-1])
    same = MAKERS[name]().fit(turned.copy(), Y[::-1].copy())
    expected = same.score_samples(turned.copy())
    np.testing.assert_array_equal(model.score_samples(turned), expected)
    read_only = turned.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(model.score_samples(read_only), expected)


@pytest.mark.parametrize("lowest", LOWEST)
def test_a_stack_of_one_layer_takes_what_its_rbm_takes(lowest):
    frame = pd.DataFrame(X, columns=[*"abcd"])
    stacks = [DeepBeliefNetwork((LOWEST[lowest],), n_iter=1, random_state=0)] * 3
    scores = [
        stack.fit(table).score_samples(table)
        for stack, table in zip(stacks, (X, X.tolist(), frame), strict=True)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_allclose(scores[0], scores[2], rtol=1e-12)  # another layout


def test_a_stack_on_words():
    frame = pd.DataFrame({"k": [*"uv"] * 20, "l": [*"vuvw"] * 10})
    stack = DeepBeliefNetwork((LOWEST["softmax"],), random_state=0).fit(frame)
    assert np.isfinite(stack.score_samples(frame)).all()
    with pytest.raises(ValueError, match="NaN in column 'l'"):
        stack.fit(frame.mask(frame == "w"))


@pytest.mark.parametrize(
    "sizes", [(GaussianRBM(2, n_iter=3),), (GaussianRBM(2, n_iter=3), 2)]
)
def test_a_stack_has_its_density_in_the_units_of_x(sizes):
    table = np.random.RandomState(0).normal(size=(50, 3))
    stack = DeepBeliefNetwork(sizes, n_iter=1, random_state=0)
    scores = stack.fit(table).score_samples(table)
    scaled = stack.fit(1000 * table).score_samples(1000 * table)
    np.testing.assert_allclose(scaled, scores - 3 * np.log(1000), atol=1e-4)
    if len(sizes) == 1:
        alone = stack.rbms_[0].score_samples(1000 * table)
        np.testing.assert_allclose(scaled, alone, atol=1e-6)


# ------------------------------------------------------------------- values


@pytest.mark.parametrize("name", ["bernoulli", "gaussian", "softmax"])
def test_a_column_without_a_value_is_refused(name):
    gaps = pd.DataFrame(X, columns=[*"abcd"])
    gaps["c"] = np.nan
    with pytest.raises(ValueError, match="column 'c' is observed"):
        MAKERS[name]().fit(gaps)
    with pytest.raises(ValueError, match="column 2 is observed"):
        MAKERS[name]().partial_fit(gaps.to_numpy())


@pytest.mark.parametrize("name", MAKERS)
def test_long_doubles_are_numbers(name):
    scores = MAKERS[name]().fit(X, Y).score_samples(X)
    table = X.astype(np.longdouble)
    again = MAKERS[name]().fit(table, Y).score_samples(table)
    np.testing.assert_array_equal(again, scores)


@pytest.mark.parametrize("factor", [1e154, 1e200])
@pytest.mark.parametrize("name", ["bernoulli", "gaussian", "classifier"])
def test_values_too_large_to_compute_with_are_refused_by_column(name, factor):
    table = np.c_[X, factor * X[:, 0]]
    with pytest.raises(ValueError, match=r"values (too large|beyond).* column 4"):
        MAKERS[name]().fit(table, Y)


# ------------------------------------------------------------------ options


class Nothing:
    """A normaliser that returns nothing."""

    def estimate(self, rbm, base_bias, rows, generator):
        return None


@pytest.mark.parametrize(
    "normalizer, said",
    [
        (ImportanceSampling(), "estimate\\(rbm, base_bias"),
        (RBMAnnealing(n_particles="many"), "'n_particles' parameter"),
        (RBMAnnealing(n_temperatures=0), "'n_temperatures' parameter"),
    ],
)
@pytest.mark.parametrize("name", MAKERS)
def test_a_normalizer_is_checked_before_training(name, normalizer, said):
    model = MAKERS[name](normalizer=normalizer)
    with pytest.raises(ValueError, match=said):
        model.fit(X, Y)
    assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize("name", MAKERS)
def test_a_normalizer_that_returns_nothing_is_named(name):
    model = MAKERS[name](normalizer=Nothing()).fit(X, Y)
    with pytest.raises(TypeError, match=r"normalizer=.*must be a skebm\.evaluation"):
        model.score_samples(X)


@pytest.mark.parametrize("name", ALONE)
def test_a_weight_decay_that_turns_weights_is_blamed_itself(name):
    model = MAKERS[name](weight_decay=1e30)
    for method in (model.fit, model.partial_fit):
        with pytest.raises(
            ValueError, match="'weight_decay' parameter must be at most"
        ):
            method(X, Y)


@pytest.mark.parametrize("name", ALONE)
def test_options_may_be_numpy_numbers(name):
    options = {
        "n_iter": np.int64(1),
        "batch_size": np.int32(7),
        "n_chains": np.int64(5),
        "n_gibbs_steps": np.int64(2),
        "learning_rate": np.float32(0.1),
        "verbose": np.int64(0),
        "normalizer": RBMAnnealing(np.int64(20), n_temperatures=np.int64(10)),
    }
    model = MAKERS[name]().set_params(n_components=np.int64(4), **options).fit(X, Y)
    plain = {k: v.item() if hasattr(v, "item") else v for k, v in options.items()}
    same = MAKERS[name]().set_params(n_components=4, **plain).fit(X, Y)
    np.testing.assert_array_equal(model.components_, same.components_)
