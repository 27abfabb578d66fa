"""Outputs of nets with the map that pulls slopes back, without a graph.

Chains ask for the slope of the energy in the rows alone. For linear layers and smooth
activations it is a few products; autograd gives the same numbers at a third more time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from skebm.networks._capabilities import Pull, own_pullback

_backward = torch.ops.aten


def pullback(module: nn.Module, x: Tensor) -> tuple[Tensor, Pull]:
    r"""Return y = f(x) and :math:`\bar y \mapsto \bar y \, \partial f / \partial x`.

    Parameters
    ----------
    module : nn.Module
        f; with a method of this name, ``module.pullback(x)``, that one is taken.
    x : Tensor of shape (n, n_inputs)
        Rows, without a graph.
    """
    rule = RULES.get(type(module))
    if rule is not None:
        return rule(module, x)
    own = own_pullback(module)
    return _by_autograd(module, x) if own is None else own(x)


def chain(modules: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, Pull]:
    """Return the outputs of layers in a row, and their pullback."""
    pulls = []
    for module in modules:
        x, pull = pullback(module, x)
        pulls.append(pull)

    def back(slope: Tensor) -> Tensor:
        for pull in reversed(pulls):
            slope = pull(slope)
        return slope

    return x, back


def _by_autograd(module: nn.Module, x: Tensor) -> tuple[Tensor, Pull]:
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        y = module(leaf)

    def back(slope: Tensor) -> Tensor:
        if not y.requires_grad:
            return torch.zeros_like(x)
        (pulled,) = torch.autograd.grad(y, leaf, slope, allow_unused=True)
        return torch.zeros_like(x) if pulled is None else pulled

    return y.detach(), back


def _linear(layer: nn.Linear, x: Tensor) -> tuple[Tensor, Pull]:
    weight = layer.weight
    return layer(x), lambda slope: slope @ weight


def _silu(layer: nn.Module, x: Tensor) -> tuple[Tensor, Pull]:
    return layer(x), lambda slope: _backward.silu_backward(slope, x)


def _softplus(layer: nn.Softplus, x: Tensor) -> tuple[Tensor, Pull]:
    options = layer.beta, layer.threshold
    return layer(x), lambda slope: _backward.softplus_backward(slope, x, *options)


def _gelu(layer: nn.GELU, x: Tensor) -> tuple[Tensor, Pull]:
    kind = layer.approximate
    return layer(x), lambda slope: _backward.gelu_backward(slope, x, approximate=kind)


def _tanh(layer: nn.Module, x: Tensor) -> tuple[Tensor, Pull]:
    y = layer(x)
    return y, lambda slope: _backward.tanh_backward(slope, y)


#: The rule of each layer that has one. A subclass, as a layer with spectral norm is,
#: has none.
RULES: dict[type[nn.Module], Callable[..., tuple[Tensor, Pull]]] = {
    nn.Identity: lambda layer, x: (x, lambda slope: slope),
    nn.Sequential: chain,
    nn.Linear: _linear,
    nn.SiLU: _silu,
    nn.Softplus: _softplus,
    nn.GELU: _gelu,
    nn.Tanh: _tanh,
}
