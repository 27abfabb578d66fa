"""Score matching with the Hessian's trace by curvature propagation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from skebm.networks import EnergyModel
from skebm.networks._capabilities import has_elementwise_layers
from skebm.objectives.score_matching._base import (
    ImplicitScoreMatching,
    random_signs,
    score_at,
)

#: The elementwise functions of the package's nets, which else are linear in the rows.
ELEMENTWISE = {
    torch.sin,
    torch.cos,
    torch.asinh,
    torch.tanh,
    nn.functional.silu,
    nn.functional.softplus,
    nn.functional.gelu,
}
#: Least scale of the noise, as a share of a layer's largest.
SCALE_FLOOR = 1e-3


class CurvaturePropagation(ImplicitScoreMatching):
    r"""Score matching with the trace of the Hessian by curvature propagation.

    .. math::

        \nabla^2 f = \sum_l J_l^T M_l J_l, \qquad
        M_l = \mathrm{diag}\left(\phi''(a_l) \, \partial f / \partial \phi(a_l)\right),
        \qquad J_l = \partial a_l / \partial x \\
        tr \nabla^2 f = E_u\left[\Big(\sum_l J_l^T C_l u_l\Big)^T
            \Big(\sum_l J_l^T C_l^{-1} M_l u_l\Big)\right], \qquad u_{li} = \pm 1

    The nonlinear layers :math:`\phi(a_l)` of the net f make its curvature, each by an
    elementwise function; noise enters at each and is carried back to the row. Any
    diagonal :math:`C_l` gives an unbiased estimate, :math:`|M_l|^{1/2}` a good one. Two
    passes back a step, however many the columns. What r and w are for: `ScoreMatching`.

    Parameters
    ----------
    reference_share : float, default=0.5
        w. 0 is the method as published, and what a normalised network gets.
    noise_scale : float, default=0.05
        :math:`\sigma` of the noise added to the rows, in standardised units.

    Raises
    ------
    ValueError
        In `fit`, where the network is none of `MLP`, `ResidualMLP`, `EnsembleMLP`: the
        layers of others aren't known.

    References
    ----------
    Martens, Sutskever, Swersky. Estimating the Hessian by back-propagating curvature.
    ICML 2012 (arXiv:1206.6464).

    Examples
    --------
    >>> from skebm.objectives import CurvaturePropagation
    >>> CurvaturePropagation(noise_scale=0.1)
    CurvaturePropagation(noise_scale=0.1)
    """

    def __init__(self, reference_share: float = 0.5, noise_scale: float = 0.05) -> None:
        self.reference_share = reference_share
        self.noise_scale = noise_scale

    def check_model(self, model: EnergyModel, n_features: int) -> None:
        """Raise ValueError unless all layers of the net are known to be elementwise."""
        super().check_model(model, n_features)
        row = next(model.parameters()).new_zeros(1, n_features)
        known = has_elementwise_layers(model.network)
        if known and not model.is_ensemble:  # the critic of an ensemble has a head
            known = model.logits(row).shape[1] == 1
        if not known:
            raise ValueError(
                "objective CurvaturePropagation and network "
                f"{type(model.network).__name__} don't go together: only the layers of "
                "an MLP or ResidualMLP with one output and of an EnsembleMLP are known."
                " Take objective='sliced_score_matching'."
            )

    def row_losses(
        self, model: EnergyModel, x: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the estimated trace plus half the squared score.

        The trace leaves out that of log q0, which no parameter changes.
        """
        _, log_reference_score = score_at(
            model.reference.extended_log_prob, x, create_graph=False
        )
        x = x.detach().requires_grad_()
        with Recorder() as recorder:  # of the layers of all rows
            tilt = self.tilt(model.whole, x)
        (slope,) = torch.autograd.grad(tilt.sum(), x, create_graph=True)
        trace = propagated_trace(tilt, x, recorder.layers, generator)
        return trace + 0.5 * (log_reference_score + slope).square().sum(dim=1)


class Recorder(TorchFunctionMode):
    """Recorder of the arguments and values of elementwise functions."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the function; record argument and value where it is elementwise."""
        value = func(*args, **(kwargs or {}))
        if func in ELEMENTWISE:
            self.layers.append((args[0], value))
        return value


def propagated_trace(
    output: Tensor,
    x: Tensor,
    layers: list[tuple[Tensor, Tensor]],
    generator: torch.Generator,
) -> Tensor:
    """Return an unbiased estimate of the Hessian's trace of each output, (n,)."""
    arguments, left, right = [], [], []
    values = [value for _, value in layers]
    deltas = torch.autograd.grad(output.sum(), values, create_graph=True)
    for (argument, value), delta in zip(layers, deltas, strict=True):
        (first,) = torch.autograd.grad(value.sum(), argument, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), argument, create_graph=True)
        curvature = second * delta
        # Without graph: the root has no slope at 0, and any scale is unbiased.
        scale = curvature.detach().abs().sqrt()
        scale = scale + SCALE_FLOOR * scale.max() + torch.finfo(scale.dtype).tiny
        u = random_signs(argument, generator)
        arguments.append(argument)
        left.append(scale * u)
        right.append(curvature / scale * u)
    (a,) = torch.autograd.grad(arguments, x, left, create_graph=True)
    (b,) = torch.autograd.grad(arguments, x, right, create_graph=True)
    return (a * b).sum(dim=1)
