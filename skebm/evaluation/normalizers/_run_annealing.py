"""log Z of an RBM by annealing along the parameters that its training went through."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from skebm.evaluation.normalizers._log_weights import LogNormalizer, bracket, summarize
from skebm.networks import RBM
from skebm.utils import uniform_like

#: Gibbs steps of chains that begin at rows of data.
BURN_IN = 50


class RunAnnealing:
    r"""Annealed importance sampling along a training run, and a sampler by it.

    .. math:: \hat Z_T = Z_0 \, \tfrac1n \sum_i \prod_{t=1}^{T}
        \frac{e^{-F_t(v_i^{(t)})}}{e^{-F_{t-1}(v_i^{(t)})}}

    where :math:`F_t` is the free energy of the RBM at step t of the run and
    :math:`F_0` that of independent units. The particles :math:`v_i` follow the RBM
    while it is trained, by a Gibbs step after each change, so that log Z of every state
    of the run costs next to nothing. RBMs that lie between two states, in their
    parameters, are steps of the path as well. `both_ways` adds the reverse estimate:
    chains that start at rows go back along the same path. Parameters of a run change
    little where a mode appears, so that this path has fewer barriers than one along the
    temperature; `sample` has chains at all states, which swap their rows.

    In a long run the estimate falls behind: of 500 units after 50 epochs of MNIST log Z
    was 2 nats too small (``docs/notes/rbm_likelihood.md``). So it is a monitor of the
    training; report the figure of `RBMAnnealing`, and ask `both_ways`.

    Parameters
    ----------
    base : RBM
        Where the run begins, without weights: its log Z is known.
    n_particles : int, default=256
        Chains in each direction.
    n_between : int, default=20
        Steps of the path from a state of the run to the next.
    generator : torch.Generator or None, default=None
        The only source of randomness; None takes one with seed 0.

    Attributes
    ----------
    states : list of RBM
        The base, and what `advance` was given.

    References
    ----------
    N. Bereux, A. Decelle, C. Furtlehner, L. Rosset and B. Seoane, "Fast training and
    sampling of restricted Boltzmann machines", ICLR 2025 (arXiv:2405.15376).

    Examples
    --------
    >>> import torch
    >>> from skebm.evaluation import RunAnnealing
    >>> from skebm.networks import RBM
    >>> base = RBM(torch.zeros(2, 2), torch.zeros(2), torch.zeros(2))
    >>> run = RunAnnealing(base)
    >>> rbm = RBM(torch.ones(2, 2), torch.zeros(2), -torch.ones(2))
    >>> abs(run.advance(rbm).log_normalizer - 3.1653) < 0.1
    True
    """

    def __init__(
        self,
        base: RBM,
        n_particles: int = 256,
        n_between: int = 20,
        generator: torch.Generator | None = None,
    ) -> None:
        if bool(base.weight.any()):
            raise ValueError(
                "The base of RunAnnealing must have no weights, only biases."
            )
        self.states, self.n_between = [base], n_between
        self._n_steps: list[int] = []
        self.generator = generator or torch.Generator().manual_seed(0)
        hidden = torch.nn.functional.softplus(base.hidden_bias.double()).sum()
        visible = base.visible.log_partition(base.visible_bias.double())
        self._base_level = float(hidden + visible)
        v = self._base_draws(n_particles)
        self._particles = v, v.new_zeros(n_particles, dtype=torch.float64)

    @torch.no_grad()
    def advance(self, rbm: RBM, n_steps: int | None = None) -> LogNormalizer:
        """Follow the run to its next state; return the estimate of log Z there.

        Parameters
        ----------
        rbm : RBM
            The state; it is kept, so that it must not change later.
        n_steps : int or None, default=None
            Steps of the path to it; None takes `n_between`. A state that differs much
            from the last one, as the first from the base, needs more.
        """
        v, log_weights = self._particles
        self._n_steps.append(self.n_between if n_steps is None else n_steps)
        path = _between(self.states[-1], rbm, self._n_steps[-1])
        v, rise = self._along([self.states[-1], *path], v)
        self._particles = v, log_weights + rise
        self.states.append(rbm)
        return self.forward

    @property
    def forward(self) -> LogNormalizer:
        """The estimate of log Z at the last state, by the particles alone."""
        return summarize(self._particles[1] + self._base_level, type(self).__name__)

    @torch.no_grad()
    def both_ways(self, rows: Tensor) -> LogNormalizer:
        """Return the estimate of log Z at the last state, with that of reverse chains.

        Parameters
        ----------
        rows : Tensor of shape (n, d)
            Rows of data that the reverse chains start from.
        """
        last, n = self.states[-1], len(self._particles[0])
        chosen = uniform_like(last.weight.new_empty(n), self.generator)
        v = rows[(chosen * len(rows)).long()].to(last.weight)
        for _ in range(BURN_IN):
            v = last.sample_blocks(v, self.generator)
        path = self.states[:1]
        pairs = zip(pairwise(self.states), self._n_steps, strict=True)
        for (before, after), n_steps in pairs:
            path.extend(_between(before, after, n_steps))
        _, fall = self._along(path[::-1], v)
        backward = summarize(fall - self._base_level, type(self).__name__)
        return bracket(self.forward, backward, slack=0.5)

    @torch.no_grad()
    def sample(self, n_samples: int, n_steps: int = 200) -> Tensor:
        """Return draws of the last state by chains at all states, which swap rows.

        Neighbours swap with probability min(1, exp(r)), r the change of the log of
        their joint probability. The chains of the base are drawn anew in every step.

        Parameters
        ----------
        n_samples : int
            Chains at each state.
        n_steps : int, default=200
            Steps of each chain, from draws of the base on.
        """
        rows = [self._base_draws(n_samples) for _ in self.states]
        for step in range(n_steps):
            rows = [
                state.sample_blocks(v, self.generator)
                for state, v in zip(self.states, rows, strict=True)
            ]
            for k in range(step % 2, len(rows) - 1, 2):
                cold, hot = self.states[k + 1], self.states[k]
                gain = (
                    cold(rows[k + 1]) + hot(rows[k]) - cold(rows[k]) - hot(rows[k + 1])
                )
                swap = uniform_like(gain, self.generator).log() < gain
                first, second = rows[k], rows[k + 1]
                rows[k] = torch.where(swap[:, None], second, first)
                rows[k + 1] = torch.where(swap[:, None], first, second)
        return rows[-1]

    def _base_draws(self, n: int) -> Tensor:
        """Return n draws of independent units."""
        base = self.states[0]
        return base.sample_visible(
            base.weight.new_zeros(n, len(base.weight)), self.generator
        )

    def _along(self, path: list[RBM], v: Tensor) -> tuple[Tensor, Tensor]:
        """Move chains along a path; return their ends and the logs of their weights."""
        rise = v.new_zeros(len(v), dtype=torch.float64)
        for before, after in pairwise(path):
            rise += (before(v) - after(v)).double()
            v = after.sample_blocks(v, self.generator)
        return v, rise


def _between(before: RBM, after: RBM, n: int) -> list[RBM]:
    """Return n RBMs on the line from one to another; the last is the other."""
    old, new = before.parameters(), after.parameters()
    shares = [k / n for k in range(1, n)]
    path = [{name: torch.lerp(old[name], new[name], s) for name in old} for s in shares]
    return [*(replace(after, **part) for part in path), after]  # type: ignore[arg-type]
