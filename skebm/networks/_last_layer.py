"""What the last layer of a net is given: the features that the net has learnt."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def last_layer(network: nn.Module) -> nn.Linear | None:
    """Return the linear layer that gives the outputs of a net; None where none does."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return layers[-1] if layers else None


def hidden_features(network: nn.Module, z: Tensor) -> Tensor:
    """Return what the last layer of a net is given for rows, shape (n, n_hidden).

    Raises
    ------
    ValueError
        Where no linear layer gives the outputs.
    """
    layer, given = last_layer(network), []

    def keep(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        given.append(inputs[0])

    if layer is not None:
        hook = layer.register_forward_pre_hook(keep)
        try:
            outputs = network(z)
        finally:
            hook.remove()
        if len(given) == 1 and given[0].shape[:-1] == outputs.shape[:-1]:
            return given[0]
    raise ValueError(
        f"The net {type(network).__name__} has no linear layer at its end, the inputs "
        "of which would be the learnt features."
    )
