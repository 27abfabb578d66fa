"""Annealing along a training run, against enumeration."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from skebm import BernoulliRBM
from skebm.evaluation import RunAnnealing, enumerated_log_normalizer
from skebm.networks import RBM


def make_run(n_states=4, scale=2.0):
    """Return a base without weights and RBMs that lead away from it."""
    rng = torch.Generator().manual_seed(0)
    weight = scale * torch.randn(3, 5, generator=rng)
    last = RBM(weight, torch.randn(3, generator=rng), torch.randn(5, generator=rng))
    base = last.tempered(0.0, torch.randn(5, generator=rng))
    states = []
    for share in torch.linspace(0, 1, n_states + 1)[1:].tolist():
        noise = 0.2 * torch.randn(3, 5, generator=rng) * (share < 1)
        between = last.tempered(share, base.visible_bias)
        states.append(replace(between, weight=between.weight + noise))
    return base, states


def exact_draws(rbm, n):
    states = rbm.visible.states(torch.arange(32), 5).float()
    rng = torch.Generator().manual_seed(n)
    return states[(-rbm(states)).softmax(0).multinomial(n, True, generator=rng)]


def test_log_z_of_every_state_and_its_bounds():
    base, states = make_run()
    run = RunAnnealing(base, n_particles=2000, n_between=5)
    for rbm in states:
        found, exact = run.advance(rbm), enumerated_log_normalizer(rbm).log_normalizer
        assert abs(found.log_normalizer - exact) < 4 * found.standard_error + 0.01
    result = run.both_ways(exact_draws(states[-1], 2000))
    assert result.trusted
    reverse, error = result.reverse_log_normalizer, result.reverse_standard_error
    assert abs(reverse - exact) < 4 * error + 0.01


def test_few_steps_err_downwards_and_reverse_ones_upwards():
    """By Jensen's inequality: the two bracket log Z on average."""
    base, states = make_run(1, scale=4.0)
    exact = enumerated_log_normalizer(states[-1]).log_normalizer
    low, high = [], []
    for seed in range(30):
        rng = torch.Generator().manual_seed(seed)
        run = RunAnnealing(base, n_particles=4, n_between=2, generator=rng)
        run.advance(states[-1])
        result = run.both_ways(exact_draws(states[-1], 50))
        low.append(result.log_normalizer)
        high.append(result.reverse_log_normalizer)
    assert np.mean(low) < exact < np.mean(high)
    weights = np.exp(np.array(low) - exact)  # unbiased
    assert abs(weights.mean() - 1) < 4 * weights.std() / math.sqrt(30)


def test_draws_follow_the_last_state():
    base, states = make_run()
    run = RunAnnealing(base)
    for rbm in states:
        run.advance(rbm)
    v = run.sample(4000, n_steps=30)
    code = (v @ (2 ** torch.arange(5.0))).long()
    frequency = torch.bincount(code, minlength=32) / len(v)
    rows = states[-1].visible.states(torch.arange(32), 5).float()
    p = (-states[-1](rows)).softmax(0)
    assert (frequency - p).abs().max() < 4 * (p.max() / len(v)).sqrt()


def test_a_run_of_partial_fits():
    X = np.random.RandomState(0).randint(0, 2, (200, 6)).astype(float)
    X[:, 1] = X[:, 0]
    model = BernoulliRBM(4, batch_size=20, random_state=0)
    run = None
    for _ in range(3):
        model.partial_fit(X)
        arrays = (
            model.components_,
            model.intercept_hidden_,
            model.intercept_visible_,
        )
        rbm = RBM(*(torch.tensor(array).float() for array in arrays))
        if run is None:
            run = RunAnnealing(rbm.tempered(0.0, torch.zeros(6)), 500)
        found = run.advance(rbm)
    assert found.log_normalizer == pytest.approx(model.log_normalizer_, abs=0.1)


def test_a_base_with_weights_is_refused():
    with pytest.raises(ValueError, match="no weights"):
        RunAnnealing(make_run()[1][0])
