"""Conditional means and marginals of an RBM given some of its visible units."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from skebm.evaluation.normalizers._rbm import MAX_ENUMERATED
from skebm.networks import RBM
from skebm.networks.boltzmann._rbm import binary_digits, n_binary_states
from skebm.samplers import Clamped

#: Layers of at most so many states are summed over for each row.
MAX_STATES = 2.0**10
_CHUNK_ELEMENTS = 2**21
_N_CHAINS, _N_BURN_IN, _N_STEPS = 20, 50, 50


@torch.no_grad()
def conditional_means(
    rbm: RBM, observed: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    r"""Return the means of v and h given the observed visible units.

    .. math:: E[v \mid v_O], \quad E[h \mid v_O] = \sum_{v_M} p(v_M \mid v_O) \,
        \sigma(c + W v), \qquad p(v_M \mid v_O) \propto e^{-F(v_O, v_M)}

    Missing units are marginalised exactly where they, or the hidden units, have at most
    2^10 states: over either, with E[v | h, v_O] for the hidden ones. Else by the mean
    over Gibbs chains, whose error is about 0.02 for a binary unit.

    Parameters
    ----------
    rbm : RBM
    observed : Tensor of shape (n, d)
        NaN where missing.
    generator : torch.Generator
        The only source of randomness.

    Returns
    -------
    v : Tensor of shape (n, d)
        Observed values as they are.
    h : Tensor of shape (n, n_hidden)
    """
    v = observed.clone()
    h = observed.new_empty(len(v), len(rbm.weight))
    sampled = []
    for i, row in enumerate(observed):
        if n_completions(rbm, row) <= MAX_STATES:
            v[i], h[i] = _over_completions(rbm, row)
        elif n_binary_states(len(rbm.weight)) <= MAX_STATES:
            v[i], h[i] = _over_hiddens(rbm, row)
        else:
            sampled.append(i)
    for rows in torch.tensor(sampled, dtype=torch.long, device=v.device).split(256):
        if len(rows):
            v[rows], h[rows] = _sampled(rbm, observed[rows], generator)
    return v, h


@torch.no_grad()
def log_marginal_unnormalized(rbm: RBM, observed: Tensor) -> Tensor:
    r"""Return the log probability of the observed visible units, up to log Z.

    .. math:: \log \sum_{v_M} e^{-F(v_O, v_M)}
        = \log \sum_h e^{c \cdot h + A(b + h W)} \, p(v_O \mid h)

    whichever sum has fewer terms.

    Parameters
    ----------
    rbm : RBM
    observed : Tensor of shape (n, d)
        NaN where missing.

    Raises
    ------
    ValueError
        Where both the hidden units and the missing ones of a row are too many.
    """
    return torch.stack([_log_marginal(rbm, row) for row in observed])


def _log_marginal(rbm: RBM, observed: Tensor) -> Tensor:
    n_states = n_completions(rbm, observed)
    n_hidden = n_binary_states(len(rbm.weight))
    if min(n_states, n_hidden) > 2**MAX_ENUMERATED:
        raise ValueError(
            f"A row has {int(observed.isnan().sum())} missing entries; the density of "
            f"the others can be had where these, or the hidden units, have at most "
            f"2^{MAX_ENUMERATED} states. Fill them in first, for example by impute."
        )
    if n_states <= n_hidden:
        parts = [-rbm(v) for v in completions(rbm, observed)]
    else:
        parts = [log_p for _, log_p in _hiddens(rbm, observed)]
    return torch.cat(parts).logsumexp(0)


def _over_completions(rbm: RBM, observed: Tensor) -> tuple[Tensor, Tensor]:
    v = torch.cat(list(completions(rbm, observed)))
    weight = (-rbm(v)).softmax(0)
    mean = torch.where(observed.isnan(), weight @ v, observed)
    return mean, weight @ rbm.hidden_field(v).sigmoid_()


def _over_hiddens(rbm: RBM, observed: Tensor) -> tuple[Tensor, Tensor]:
    states, log_p = zip(*_hiddens(rbm, observed), strict=True)
    h, weight = torch.cat(states), torch.cat(log_p).softmax(0)
    rows = observed.expand(len(h), -1)
    mean = rbm.visible.given(rows).mean_(rbm.visible_field(h))
    v = rbm.visible.clamp(rows)(mean)
    return torch.where(observed.isnan(), weight @ v, observed), weight @ h


def n_completions(rbm: RBM, observed: Tensor) -> float:
    """Return how many states the missing units of a row have."""
    missing = observed.isnan()
    return rbm.visible.subset(missing).n_states(int(missing.sum()))


def completions(rbm: RBM, observed: Tensor) -> Iterator[Tensor]:
    """Yield the row with all states of its missing units, in chunks."""
    missing = observed.isnan()
    units, n = rbm.visible.subset(missing), int(missing.sum())
    for states in _state_indices(n_completions(rbm, observed), rbm):
        v = observed.repeat(len(states), 1)
        v[:, missing] = units.states(states, n).to(v)
        yield v


def _hiddens(rbm: RBM, observed: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all states h of the hidden units with log p(h, v_O), up to log Z."""
    n_hidden = len(rbm.weight)
    for states in _state_indices(n_binary_states(n_hidden), rbm):
        h = binary_digits(states, n_hidden).to(rbm.weight)
        log_density = rbm.visible.log_density(observed, rbm.visible_field(h))
        yield h, rbm.hidden_log_prob_unnormalized(h) + log_density


def _state_indices(n_states: float, rbm: RBM) -> tuple[Tensor, ...]:
    states = torch.arange(int(n_states), device=rbm.weight.device)
    return states.split(max(1, _CHUNK_ELEMENTS // sum(rbm.weight.shape)))


def _sampled(
    rbm: RBM, observed: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    chains = Clamped(rbm, observed.repeat_interleave(_N_CHAINS, 0))
    v, rbm = chains.start(generator), chains.rbm
    visible, hidden = torch.zeros_like(v), v.new_zeros(len(v), len(rbm.weight))
    for step in range(_N_BURN_IN + _N_STEPS):
        probability = rbm.hidden_field(v).sigmoid_()
        noise = torch.empty_like(probability).uniform_(generator=generator)
        field = rbm.visible_field((noise < probability).to(v))
        if step >= _N_BURN_IN:
            hidden += probability / _N_STEPS
            mean = chains.clamp(rbm.visible.mean_(field.clone()))
            visible += mean / _N_STEPS
        v = rbm.visible.draw_(field, torch.empty_like(field), generator)
        v = chains.clamp(v)

    def over_chains(x: Tensor) -> Tensor:
        return x.unflatten(0, (len(observed), _N_CHAINS)).mean(1)

    mean = torch.where(observed.isnan(), over_chains(visible), observed)
    return mean, over_chains(hidden)
