"""Where the training of an RBM begins: options, first parameters, chains."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.evaluation import can_enumerate
from skebm.models.boltzmann._fitted import FittedRBM
from skebm.models.boltzmann._kinds import HiddenStart
from skebm.networks import RBM
from skebm.utils import to_numpy_tree, to_tensor_tree

Array = NDArray[Any]


@dataclass(frozen=True)
class RBMOptions:
    """Options of an RBM estimator that training asks for; see `BernoulliRBM`."""

    n_components: int
    learning_rate: float
    batch_size: int
    method: str
    n_gibbs_steps: int
    n_chains: int | None
    momentum: float
    weight_decay: float | None
    centered: bool
    learning_rate_schedule: str
    weight_averaging: float
    normalizer: Any
    device: Any
    early_stopping: bool | str = False
    validation_fraction: float = 0.1

    @classmethod
    def of(cls, estimator: Any) -> RBMOptions:
        """Return the options of an estimator."""
        names = [field.name for field in fields(cls) if hasattr(estimator, field.name)]
        return cls(**{name: getattr(estimator, name) for name in names})

    def decay(self, n_rows: int) -> float:
        """Return the weight decay after n rows; by default no step turns a sign."""
        if self.weight_decay is not None:
            return self.weight_decay
        return min(2 / n_rows, (1 - self.momentum) / self.learning_rate)


def begin(
    units: Any,
    moments: tuple[Array, Array, float],
    dtype: Any,
    options: RBMOptions,
    rng: np.random.RandomState,
    start: HiddenStart = HiddenStart(),  # noqa: B008
    n_temperatures: int = 1,
) -> FittedRBM:
    """Return an untrained RBM: visible biases of the means, random weights.

    Parameters
    ----------
    units : VisibleUnits
        The visible units.
    moments : tuple
        Means of the columns of visible units, numbers of rows behind them, and the
        total deviation of the statistics.
    dtype : dtype
        Of the parameters.
    options : RBMOptions
        Options of the estimator.
    rng : RandomState
        Source of randomness.
    start : HiddenStart, default=HiddenStart()
        The log odds of hidden units.
    n_temperatures : int, default=1
        Temperatures of the chains of tempering.
    """
    v_mean, n_rows, deviation = torch.from_numpy(moments[0]), *moments[1:]
    bias = units.bias(v_mean, torch.from_numpy(n_rows)).numpy()
    # Statistics are linear in v.
    mean = units.to(v_mean.dtype).statistic(v_mean).numpy()
    weight = start.weight
    if weight is None:
        scale = start.spread / max(deviation, start.spread)
        weight = rng.normal(0, scale, (options.n_components, len(mean)))
    hidden_bias = start.level - weight @ mean
    visible_bias = bias - start.mean * weight.sum(axis=0)
    parameters: dict[str, Any] = {
        "weight": weight.astype(dtype),
        "hidden_bias": hidden_bias.astype(dtype),
        "visible_bias": visible_bias.astype(dtype),
    }
    tensors = {k: torch.from_numpy(v).float() for k, v in parameters.items()}
    _check_normalizer(RBM(**tensors, visible=units), options)
    n_chains = options.batch_size if options.n_chains is None else options.n_chains
    chains = rng.randint(2, size=(n_chains, options.n_components))
    state = {
        "parameters": tensors,
        "chains": fitting_chains(
            torch.from_numpy(chains).float(), options.method, n_temperatures
        ),
        "visible_offset": torch.from_numpy(mean).float(),
        "hidden_offset": torch.full(
            (options.n_components,), start.mean, dtype=torch.float32
        ),
        "n_steps": 0,
    }
    return FittedRBM(
        units=units,
        **parameters,
        base_bias=bias.astype(np.float32),
        state=to_numpy_tree(state),
    )


def without_momentum(state: dict[str, Any], rbm: RBM) -> dict[str, Any]:
    """Return the state of a training that goes on from an RBM afresh."""
    dropped = ("velocity", "average", "scale", "average_scale")
    kept = {k: v for k, v in state.items() if k not in dropped}
    return {**kept, "parameters": rbm.parameters()}


def trained_rbm(fitted: FittedRBM, device: torch.device) -> tuple[RBM, dict[str, Any]]:
    """Return the RBM as its last step left it, and the state of training, as tensors.

    Both are copies on the device.
    """
    state = _moved(to_tensor_tree(fitted.state), device)
    parameters = state["parameters"]
    units = fitted.units.to(parameters["weight"].dtype).to(device)
    return RBM(**parameters, visible=units), state


def _check_normalizer(rbm: RBM, options: RBMOptions) -> None:
    """Raise before training where log Z can't be computed as asked for."""
    if options.normalizer == "exact" and not can_enumerate(rbm):
        raise ValueError(
            "normalizer='exact' needs a layer of at most 20 units; here are "
            f"n_components={options.n_components} and {len(rbm.visible_bias)} "
            "visible ones. Use 'auto' or 'ais'."
        )


def fitting_chains(chains: Tensor, method: str, n_temperatures: int) -> Tensor:
    """Return the chains with a temperature axis for tempering, without it otherwise."""
    if chains.ndim == 3 and (method != "tempering" or len(chains) != n_temperatures):
        chains = chains[0].clone()
    if method == "tempering" and chains.ndim == 2:
        return chains.repeat(n_temperatures, 1, 1)
    return chains


def _moved(tree: Any, device: torch.device) -> Any:
    """Return nested dicts whose tensors are on the device."""
    if isinstance(tree, Tensor):
        return tree.to(device)
    if isinstance(tree, dict):
        return {k: _moved(v, device) for k, v in tree.items()}
    return tree
