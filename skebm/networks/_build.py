"""Networks by name, class or builder: resolved, built and checked."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any

import torch
from torch import nn

from skebm.exceptions import DataWarning
from skebm.networks import NETWORKS
from skebm.networks._capabilities import is_ensemble, n_members_of
from skebm.networks._image_network import checked_image_shape
from skebm.utils import InvalidParameterError, isolated_rng, warn_user

Builder = Callable[[int, int], nn.Module]


def resolve_network(network: Any) -> Builder:
    """Return the builder of a net for the option ``network``: a name, class or builder.

    Raises
    ------
    ValueError
        Where the name is unknown or a built net is given where a builder is needed.
    """
    if isinstance(network, nn.Module):
        raise InvalidParameterError(
            "The 'network' parameter must be a name, a class or a builder "
            "(n_features, n_outputs) -> nn.Module, so that each fit starts afresh. Got "
            f"a built {type(network).__name__} instead; pass for example "
            "functools.partial(MLP, hidden_features=(64, 64))."
        )
    if isinstance(network, str) and network in NETWORKS:
        network = NETWORKS[network]
    if not callable(network):
        names = sorted(map(repr, [*NETWORKS, "auto"]))
        raise InvalidParameterError(
            f"The 'network' parameter must be one of {{{', '.join(names)}}}, a class or"
            f" a builder (n_features, n_outputs) -> nn.Module. Got {network!r} instead."
        )
    return network


def build_network(network: Any, n_features: int, n_outputs: int) -> nn.Module:
    """Build a net by the option ``network``, and check the shape of its outputs.

    Raises
    ------
    ValueError
        As in `resolve_network`, or where the net doesn't map (n, n_features) to
        (n, n_outputs).
    """
    builder = resolve_network(network)
    try:
        built = builder(n_features, n_outputs)
    except InvalidParameterError:  # a TypeError, too: an option of the net
        raise
    except TypeError as error:
        raise InvalidParameterError(
            "The 'network' parameter must be a builder (n_features, n_outputs) -> "
            f"nn.Module. Called with ({n_features}, {n_outputs}) it raised TypeError: "
            f"{error}."
        ) from error
    if not isinstance(built, nn.Module):
        raise ValueError(
            f"The 'network' builder must return an nn.Module. Got {built!r} instead."
        )
    built = built.float()  # as rows are, whatever torch's default is
    rows = torch.zeros(2, n_features, dtype=torch.float32)
    try:
        with torch.no_grad():
            outputs = built(rows)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"The 'network' must map rows of shape (n, {n_features}) to outputs of "
            f"shape (n, {n_outputs}). Of 2 rows it raised {type(error).__name__}: "
            f"{error}."
        ) from error
    shape = tuple(getattr(outputs, "shape", ()))
    if not isinstance(outputs, torch.Tensor) or shape != (2, n_outputs):
        raise ValueError(
            f"The 'network' must map rows of shape (n, {n_features}) to outputs of "
            f"shape (n, {n_outputs}). Got outputs of shape {shape} for 2 rows."
        )
    return built


def draws_globally(network: nn.Module, n_features: int) -> bool:
    """Return True if the net, in training, draws from torch's global generator."""
    before = torch.default_generator.get_state()
    with torch.no_grad():
        copy.deepcopy(network).train()(torch.zeros(2, n_features).float())
    return not torch.equal(torch.default_generator.get_state(), before)


def constructor_of(builder: Any) -> Any:
    """Return the class or function that a builder calls: a partial's, or itself."""
    return builder.func if isinstance(builder, partial) else builder


def count_members(builder: Builder, n_features: int, n_outputs: int) -> int:
    """Return the number of classifiers in the net of a builder; 1 if no ensemble.

    An ensemble's class, or a `functools.partial` of it, names the number in its
    signature. The net of any other builder is built, which also checks it.

    Raises
    ------
    ValueError
        As in `build_network`.
    """
    constructor = constructor_of(builder)
    if is_ensemble(constructor) and builder is constructor:
        parameter = inspect.signature(builder).parameters.get("n_members")
        n_members = None if parameter is None else parameter.default
        if isinstance(n_members, Integral) and int(n_members) > 0:
            return int(n_members)
    with isolated_rng(0, torch.device("cpu")):
        network = build_network(builder, n_features, n_outputs)
    return int(n_members_of(network))


def takes_image_shape(builder: Any) -> bool:
    """Tell whether a builder takes rows as images: by its argument ``image_shape``."""
    try:
        return "image_shape" in inspect.signature(builder).parameters
    except (TypeError, ValueError):  # of what has no signature
        return False


def with_image_shape(network: Any, image_shape: Any, n_features: int) -> Any:
    """Return the option ``network`` with the shape of images, if it takes images.

    Parameters
    ----------
    network : str, class or builder
        The option.
    image_shape : sequence of int or None
        Channels, height, width; None takes that of the builder, else a square grey
        image.
    n_features : int
        Columns of X.

    Raises
    ------
    ValueError
        Where the shape doesn't go with the number of columns, or with another one that
        the builder has.

    Warns
    -----
    skebm.exceptions.DataWarning
        Where the shape is a guess.
    """
    builder = resolve_network(network)
    takes_images = takes_image_shape(builder)
    name = f"network {getattr(constructor_of(builder), '__name__', builder)}"
    if not takes_images:
        if image_shape is not None:
            checked_image_shape(image_shape, n_features, "the estimator")
        return network
    own = builder.keywords.get("image_shape") if isinstance(builder, partial) else None
    given = own if image_shape is None else image_shape
    shape = checked_image_shape(given, n_features, name)
    if own is not None:
        if checked_image_shape(own, n_features, name) != shape:
            raise InvalidParameterError(
                f"The 'image_shape' parameter is {shape}, and that of {name} is "
                f"{own!r}. Give it once."
            )
        return network
    if given is None:
        warn_user(
            f"{name} takes rows as images, here as square grey ones: set "
            f"image_shape={shape} if this is right, else their (channels, height, "
            "width).",
            DataWarning,
        )
    return partial(builder, **{"image_shape": shape})
