"""Estimators of log Z and the pseudo-likelihood of RBMs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from sklearn.base import BaseEstimator
from torch import Tensor
from torch.nn import functional

from skebm.evaluation.normalizers._log_weights import LogNormalizer, bracket, summarize
from skebm.evaluation.normalizers._rbm_stack import Walk, make_walks
from skebm.networks import RBM
from skebm.networks.boltzmann._rbm import binary_digits, n_binary_states
from skebm.utils import check_count, check_positive, check_range, is_count
from skebm.utils._together import together

#: A layer of at most so many units is summed over state by state.
MAX_ENUMERATED = 20
#: Small blocks are fast and do not fragment memory.
_CHUNK_ELEMENTS = 2**17
#: Where twice the betas leave more of the error than this share, and more nats than
#: are noise, still more will not help.
LEAST_PROGRESS, HOPELESS = 0.9, 5.0
_PILOT_TEMPERATURES, _PILOT_PARTICLES, _BURN_IN = 100, 64, 50


def can_enumerate(rbm: RBM) -> bool:
    """Return True if a layer has few enough states, 2^20, to sum over for log Z."""
    n_hidden, n_statistics = rbm.weight.shape
    n_visible = rbm.visible.n_states(n_statistics)
    return min(n_binary_states(n_hidden), n_visible) <= 2**MAX_ENUMERATED


@torch.no_grad()
def enumerated_log_normalizer(rbm: RBM) -> LogNormalizer:
    r"""Return the exact log Z, a sum over the layer with fewer states, in float64.

    .. math:: Z = \sum_h e^{c \cdot h + A(b + h W)} = \sum_v e^{-F(v)}

    Parameters
    ----------
    rbm : RBM

    Raises
    ------
    ValueError
        Where both layers have more than 2^20 states.

    Examples
    --------
    >>> import torch
    >>> from skebm.evaluation import enumerated_log_normalizer
    >>> from skebm.networks import RBM
    >>> rbm = RBM(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
    >>> round(enumerated_log_normalizer(rbm).log_normalizer, 4)  # 5 log 2
    3.4657
    """
    if not can_enumerate(rbm):
        raise ValueError(
            "Exact normalisation needs a layer of at most "
            f"2^{MAX_ENUMERATED} states; the weights are {tuple(rbm.weight.shape)}."
        )
    rbm = rbm.to(torch.float64)
    n_hidden, n_statistics = rbm.weight.shape
    n_states = 2**n_hidden
    over_hidden = n_states <= rbm.visible.n_states(n_statistics)
    if over_hidden and rbm.visible.is_quadratic:
        value = _quadratic_log_normalizer(rbm)
        return LogNormalizer(value, 0.0, 1.0, n_states, "enumeration", True)
    if not over_hidden:
        n_states = int(rbm.visible.n_states(n_statistics))
    chunk = max(1, _CHUNK_ELEMENTS // (n_hidden + n_statistics))
    terms = []
    for start in range(0, n_states, chunk):
        states = torch.arange(start, min(start + chunk, n_states))
        states = states.to(rbm.weight.device)
        if over_hidden:
            h = binary_digits(states, n_hidden).to(rbm.weight)
            terms.append(float(rbm.hidden_log_prob_unnormalized(h).logsumexp(0)))
        else:
            v = rbm.visible.states(states, n_statistics).to(rbm.weight)
            terms.append(float((-rbm(v)).logsumexp(0)))
    log_normalizer = float(torch.tensor(terms, dtype=torch.float64).logsumexp(0))
    return LogNormalizer(log_normalizer, 0.0, 1.0, n_states, "enumeration", True)


def _quadratic_log_normalizer(rbm: RBM) -> float:
    """Return log Z with Gaussian units, by products of two halves of the hidden units.

    A(b + h W) is a square, and so a sum of squares of the halves and of their product.
    """
    n_hidden = len(rbm.weight)
    first = slice(0, n_hidden // 2)
    second = slice(n_hidden // 2, n_hidden)
    fields, levels = [], []
    for half, bias in ((first, rbm.visible_bias), (second, 0.0)):
        weight = rbm.weight[half]
        states = torch.arange(2 ** len(weight), device=weight.device)
        h = binary_digits(states, len(weight)).to(weight)
        field = h @ weight + bias
        fields.append(field)
        levels.append(h @ rbm.hidden_bias[half] + rbm.visible.log_partition(field))
    terms = torch.addmm(levels[1], fields[0], fields[1].mT)
    return float((terms.logsumexp(1) + levels[0]).logsumexp(0))


class RBMAnnealing(BaseEstimator):
    r"""Annealed importance sampling of an RBM from independent units, and in reverse.

    .. math:: f_\beta(v) = e^{(\beta b + (1 - \beta) b_0) \cdot s(v)} \, m(v)
        \prod_j (1 + e^{\beta (c + W s(v))_j}), \qquad
        \hat Z = Z_0 \, \tfrac1n \sum_i \prod_k
        \frac{f_{\beta_k}(v_i^{(k)})}{f_{\beta_{k-1}}(v_i^{(k)})}

    Hidden units are summed out, chains move by block Gibbs, and a pilot run spaces the
    betas so that each step costs alike. The number of betas is doubled until the
    standard error is below `tolerance` and the reverse estimate agrees, or more betas
    no longer help. The reverse chains start at `rows` of data, are burnt in at
    beta = 1, and go back to independent units. Where forward chains miss a mode of the
    data, the two estimates disagree.

    Parameters
    ----------
    n_particles : int, default=256
        Chains in each direction.
    n_temperatures : int or "auto", default="auto"
        Number of betas; "auto" begins at 200.
    tolerance : float, default=0.05
        Standard error to reach, in nats.
    max_moves : int, default=1_000_000
        Largest product of betas and particles in a round of "auto".

    References
    ----------
    R. Salakhutdinov and I. Murray, "On the quantitative analysis of deep belief
    networks", ICML 2008. Y. Burda, R. Grosse and R. Salakhutdinov, "Accurate and
    conservative estimates of MRF log-likelihood using reverse annealing", AISTATS 2015.

    Examples
    --------
    >>> import torch
    >>> from skebm.evaluation import RBMAnnealing
    >>> from skebm.networks import RBM
    >>> rbm = RBM(torch.ones(2, 2), torch.zeros(2), -torch.ones(2))
    >>> estimate = RBMAnnealing(n_temperatures=20).estimate(
    ...     rbm,
    ...     torch.zeros(2),
    ...     rows=torch.zeros(1, 2),
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> abs(estimate.log_normalizer - 3.1653) < 0.05
    True
    """

    def __init__(
        self,
        n_particles: int = 256,
        *,
        n_temperatures: int | str = "auto",
        tolerance: float = 0.05,
        max_moves: int = 1_000_000,
    ) -> None:
        self.n_particles = n_particles
        self.n_temperatures = n_temperatures
        self.tolerance = tolerance
        self.max_moves = max_moves

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        check_count(self, "n_particles", 2)
        is_auto = isinstance(self.n_temperatures, str) and self.n_temperatures == "auto"
        right = is_auto or is_count(self.n_temperatures, 1)
        check_range(self, "n_temperatures", right, "'auto' or an integer, at least 1")
        check_positive(self, "tolerance")
        check_count(self, "max_moves")

    @torch.no_grad()
    def estimate(
        self, rbm: RBM, base_bias: Tensor, rows: Tensor, generator: torch.Generator
    ) -> LogNormalizer:
        """Estimate log Z of an RBM.

        Parameters
        ----------
        rbm : RBM
        base_bias : Tensor of shape (n_statistics,)
            b_0, natural parameters of independent units with the data's means.
        rows : Tensor of shape (n, d)
            Data that the reverse chains start from.
        generator : torch.Generator
            The only source of randomness.
        """
        path = _Path(rbm, base_bias, generator)
        uniform = torch.linspace(0, 1, _PILOT_TEMPERATURES + 1, dtype=torch.float64)
        spread = path.spread(uniform, _PILOT_PARTICLES)
        n_temperatures = self.n_temperatures
        is_auto = n_temperatures == "auto"
        n_temperatures = 200 if is_auto else int(n_temperatures)
        error_before = math.inf
        while True:
            betas = _equidistant(uniform, spread, n_temperatures)
            result = self._both_ways(path, betas, rows)
            good = result.trusted and result.standard_error <= self.tolerance
            affordable = 2 * n_temperatures * self.n_particles <= self.max_moves
            gap = abs(result.reverse_log_normalizer - result.log_normalizer)
            error = result.standard_error + gap
            helps = error < max(LEAST_PROGRESS * error_before, HOPELESS)
            if good or not (is_auto and affordable and helps):
                return result
            n_temperatures, error_before = 2 * n_temperatures, error

    def _both_ways(self, path: _Path, betas: Tensor, rows: Tensor) -> LogNormalizer:
        name = type(self).__name__
        weights, _ = path.log_weights(betas, path.base_draws(self.n_particles))
        forward = summarize(weights + path.base_log_normalizer, name)
        backward = summarize(
            path.log_weights(betas.flip(0), path.model_draws(rows, self.n_particles))[0]
            - path.base_log_normalizer,
            name,
        )
        return bracket(forward, backward, slack=0.5)


class _Path:
    """The tempered RBMs between independent units and an RBM."""

    def __init__(self, rbm: RBM, base_bias: Tensor, generator: torch.Generator) -> None:
        self.rbm, self.base_bias, self.generator = rbm, base_bias, generator
        self.tilt = rbm.visible_bias - base_bias
        n_hidden = len(rbm.weight)
        log_partition = rbm.visible.log_partition(base_bias.double())
        self.base_log_normalizer = float(log_partition) + n_hidden * math.log(2)

    def base_draws(self, n: int) -> Tensor:
        """Draw n rows at beta = 0."""
        h = self.rbm.weight.new_zeros(n, len(self.rbm.weight))
        return self.rbm.tempered(0.0, self.base_bias).sample_visible(h, self.generator)

    def model_draws(self, rows: Tensor, n: int) -> Tensor:
        """Draw n rows near beta = 1 by chains that start at rows of data."""
        chosen = torch.randint(
            len(rows), (n,), generator=self.generator, device=self.generator.device
        )
        v = rows[chosen.to(rows.device)]
        for _ in range(_BURN_IN):
            v = self.rbm.sample_blocks(v, self.generator)
        return v

    def log_weights(self, betas: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return sums of log weights, shape (n,), and each step's variance."""
        total = torch.zeros(len(v), dtype=torch.float64, device=v.device)
        variances = []
        for step in self.steps(betas, v):
            total += step
            variances.append(step.double().var())
        return total, torch.stack(variances)

    def steps(self, betas: Tensor, v: Tensor) -> Iterator[Tensor]:
        """Yield the log weights, shape (n,), of each step from a beta to the next.

        `ends` is where the chains are after the last.
        """
        walk = Walk(self, betas.tolist(), v)
        yield from together(make_walks, walk.likeness, walk)

    def walk(self, ladder: list[float], v: Tensor) -> Iterator[Tensor]:
        """Yield what `steps` does, made alone."""
        rbm = self.rbm
        for before, beta in pairwise(ladder):
            s = rbm.visible.statistic(v)
            pull = torch.addmm(rbm.hidden_bias, s, rbm.weight.mT)
            rise = functional.softplus(beta * pull)
            rise -= functional.softplus(before * pull)
            yield rise.sum(1) + (beta - before) * (s @ self.tilt)
            probability = pull.mul_(beta).sigmoid_()
            noise = torch.empty_like(pull).uniform_(generator=self.generator)
            h = torch.lt(noise, probability, out=probability)
            bias = torch.lerp(self.base_bias, rbm.visible_bias, beta)
            field = torch.addmm(bias, h, rbm.weight, alpha=beta)
            v = rbm.visible.draw_(field, torch.empty_like(field), self.generator)
        self.ends = v

    def spread(self, betas: Tensor, n: int) -> Tensor:
        """Return the standard deviation of each step of n chains."""
        return self.log_weights(betas, self.base_draws(n))[1].sqrt()


@dataclass(frozen=True, eq=False)
class BriefAnnealing:
    """One annealing of a few chains, for an RBM in training, where rough is enough.

    Attributes
    ----------
    log_normalizers : Tensor of shape (n_betas,)
        log Z of the tempered RBM at each beta.
    errors : Tensor of shape (n_betas,)
        Standard deviations of the chains' log weights: about how far log Z may be too
        low.
    v : Tensor of shape (n, d)
        Where the chains end.
    log_weights : Tensor of shape (n,)
        Their log weights: v with these are draws of the RBM.
    """

    log_normalizers: Tensor
    errors: Tensor
    v: Tensor
    log_weights: Tensor


@torch.no_grad()
def anneal_briefly(
    rbm: RBM, base_bias: Tensor, betas: Tensor, n: int, generator: torch.Generator
) -> BriefAnnealing:
    """Anneal n chains from independent units to an RBM.

    Parameters
    ----------
    rbm : RBM
    base_bias : Tensor of shape (n_statistics,)
        As in `RBMAnnealing.estimate`.
    betas : Tensor
        From 0 to 1.
    n : int
        Number of chains.
    generator : torch.Generator
        The only source of randomness.
    """
    path = _Path(rbm, base_bias, generator)
    start = torch.zeros(n, dtype=torch.float64, device=base_bias.device)
    steps = path.steps(betas, path.base_draws(n))
    totals = torch.stack(list(accumulate(steps, initial=start)))
    log_mean = totals.logsumexp(1) - math.log(n)
    level = path.base_log_normalizer
    return BriefAnnealing(log_mean + level, totals.std(1), path.ends, totals[-1])


def _equidistant(betas: Tensor, spread: Tensor, n_temperatures: int) -> Tensor:
    """Return betas from 0 to 1 with equal spreads of the log weights between them."""
    spread = spread.cpu() + 0.1 * spread.mean().cpu() + 1e-12
    length = torch.cat([spread.new_zeros(1), spread.cumsum(0)])
    goals = torch.linspace(0, 1, n_temperatures + 1, dtype=length.dtype) * length[-1]
    right = torch.searchsorted(length, goals).clamp(1, len(betas) - 1)
    low, high = length[right - 1], length[right]
    share = ((goals - low) / (high - low)).clamp(0, 1)
    found = torch.lerp(betas[right - 1], betas[right], share)
    found[0], found[-1] = 0.0, 1.0
    return found


@torch.no_grad()
def pseudo_log_likelihood(rbm: RBM, v: Tensor, columns: Tensor | None = None) -> Tensor:
    r"""Return the log pseudo-likelihood of binary rows, in nats.

    .. math:: \sum_i \log p(v_i \mid v_{-i})
        = \sum_i \log \sigma(F(\bar v^{(i)}) - F(v)), \qquad
        \bar v^{(i)} = v \text{ with } v_i \text{ flipped}

    Parameters
    ----------
    rbm : RBM
        With Bernoulli visible units.
    v : Tensor of shape (n, d)
    columns : Tensor of shape (n,), default=None
        One column for each row, so that d times its term is an unbiased estimate; None
        takes all columns.

    Returns
    -------
    Tensor of shape (n,)

    References
    ----------
    J. Besag, "Statistical analysis of non-lattice data", The Statistician 24 (1975).
    """
    pull = rbm.hidden_field(v)
    level = functional.softplus(pull).sum(1) + rbm.visible.log_base(v)

    def term(columns: Tensor) -> Tensor:
        values = v.gather(1, columns[:, None])[:, 0]
        change = 1 - 2 * values
        weights, bias = rbm.weight.mT[columns], rbm.visible_bias[columns]
        flipped = functional.softplus(pull + change[:, None] * weights).sum(1)
        if not rbm.visible.is_product:
            other = v.scatter(1, columns[:, None], (1 - values)[:, None])
            flipped = flipped + rbm.visible.log_base(other)
        return functional.logsigmoid(level - flipped - change * bias)

    d = v.shape[1]
    if columns is not None:
        return d * term(columns)
    terms = [term(torch.full((len(v),), j, device=v.device)) for j in range(d)]
    return torch.stack(terms).sum(0)
