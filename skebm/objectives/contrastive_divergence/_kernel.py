"""How the chains of a training step move."""

from __future__ import annotations

import torch
from sklearn.base import clone
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.objectives.amortized._chain import AdaptiveStep, mean_acceptance
from skebm.references import Density, UniformBox
from skebm.samplers import AbstractSampler


class ChainKernel(nn.Module):
    r"""Moves of chains on the model: a jump from the reference, steps of a sampler.

    The jump compares each chain with N draws of the reference and takes one of the
    N + 1,

    .. math:: P(x' = x_j) \propto e^{-E(x_j)}, \qquad x_1, \dots, x_N \sim q_0,

    which leaves :math:`p \propto q_0 e^{-E}` invariant (iterated sampling importance
    resampling): the masses of modes that no local step connects come right. Where
    the reference is far from the model, in many columns, jumps are refused and cost a
    little time.

    The step size of a sampler with a ``target_acceptance`` is a buffer and follows the
    acceptance from one training step to the next. Walls of the reference are mirrors.

    Parameters
    ----------
    sampler : AbstractSampler
        Its ``n_adapt`` doesn't count here.
    n_reference_tries : int
        N; 0 for no jumps.

    References
    ----------
    Andrieu, Lee, Vihola. Uniform ergodicity of the iterated conditional SMC and
    geometric ergodicity of particle Gibbs samplers. Bernoulli, 2018. Samsonov et al.
    Local-global MCMC kernels: the best of both worlds. NeurIPS 2022.
    """

    def __init__(self, sampler: AbstractSampler, n_reference_tries: int) -> None:
        super().__init__()
        self.sampler = clone(sampler)
        names = [name for name in sampler.get_params() if name.endswith("n_adapt")]
        self.sampler.set_params(**dict.fromkeys(names, 0))
        self.n_reference_tries = n_reference_tries
        self.adaptive_step = AdaptiveStep(getattr(sampler, "step_size", 1.0))

    def move(
        self, model: EnergyModel, x: Tensor, n_steps: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Move chains by a jump and n steps; return where they are now, and figures.

        Raises
        ------
        skebm.exceptions.NonFiniteChainError
            Where a chain goes to where the energy is not finite.
        """
        figures = {}
        x = x.detach()
        if self.n_reference_tries:
            x, figures["jumps"] = jump(model, x, self.n_reference_tries, generator)
        if n_steps == 0:
            return x, figures
        states = self.adaptive_step.run(
            self.sampler, lambda rows: potential(model, rows), x, n_steps, generator
        )
        end = states[-1]
        figures["acceptance"] = mean_acceptance(states)
        figures["step_size"] = end.step_size
        self.sampler.check_lost(states[0], end)
        return inside(model.reference, end.point.x), figures


def potential(model: EnergyModel, x: Tensor) -> Tensor:
    r"""Return U(x) = E(x) - log q0(x), shape (n,), with mirrors for walls."""
    x = inside(model.reference, x)
    return model.energy(x) - model.reference.extended_log_prob(x)


def inside(reference: Density, x: Tensor) -> Tensor:
    """Return x, folded back into the box of a reference with walls."""
    if not isinstance(reference, UniformBox):
        return x
    low, width = reference.low, reference.high - reference.low
    return low + width - (torch.remainder(x - low, 2 * width) - width).abs()


@torch.no_grad()
def jump(
    model: EnergyModel, x: Tensor, n_tries: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return each chain or one of its reference draws, and the share that jumped."""
    draws = model.reference.sample(n_tries * len(x), generator)
    rows = torch.cat([x, draws]).unflatten(0, (n_tries + 1, len(x)))
    log_weight = -model.energy(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
    uniform = torch.rand(
        log_weight.shape, generator=generator, device=x.device, dtype=x.dtype
    )
    # The largest of log weights with Gumbel noise is a draw by the weights.
    chosen = (log_weight - (-uniform.log()).log()).argmax(0)
    return rows[chosen, torch.arange(len(x), device=x.device)], (chosen > 0).to(
        x.dtype
    ).mean()
