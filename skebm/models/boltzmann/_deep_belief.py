"""A stack of fitted RBMs as one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from skebm.distributed import current
from skebm.models.boltzmann._fitted import FittedRBM
from skebm.models.boltzmann._rows import chunks, on_chunk, some_rows, to_tensor
from skebm.models.boltzmann._state import pack_device, unpack_device
from skebm.networks import DeepBeliefNet, DirectedLayer
from skebm.objectives import UpDown
from skebm.training import EvenBatches, Loop, RateSchedule, UpDownRun
from skebm.utils import draw_seed, make_generator, resolve_device, to_numpy_tree

Array = NDArray[Any]

#: Steps of the top RBM between waking and sleep.
N_SLEEP_STEPS = 3


@dataclass(frozen=True, eq=False)
class FittedDeepBelief:
    """Fitted RBMs, of which all but the top one are directed layers.

    Attributes
    ----------
    rbms : tuple of FittedRBM
        The lowest first.
    layers : tuple of tuple of ndarray
        W, b, R and c of each directed layer: downwards, and upwards.
    device : str, torch.device or None
        Where questions are answered.
    """

    rbms: tuple[FittedRBM, ...]
    layers: tuple[tuple[Array, Array, Array, Array], ...]
    device: Any

    @classmethod
    def stacked(cls, rbms: tuple[FittedRBM, ...], device: Any) -> FittedDeepBelief:
        """Return the stack, in which the layers' two directions are equal."""
        layers = tuple(
            (rbm.weight, rbm.visible_bias, rbm.weight, rbm.hidden_bias)
            for rbm in rbms[:-1]
        )
        return cls(rbms, layers, device)

    @property
    def top(self) -> FittedRBM:
        """The undirected RBM."""
        return self.rbms[-1]

    def net(self, dtype: Any) -> DeepBeliefNet:
        """Return the net, on the device."""
        device = resolve_device(self.device)
        layers = []
        for rbm, arrays in zip(self.rbms, self.layers, strict=False):
            down, down_bias, up, up_bias = (
                torch.from_numpy(a.astype(dtype)).to(device) for a in arrays
            )
            visible = rbm.rbm(dtype).visible
            layers.append(DirectedLayer(down, down_bias, up, up_bias, visible))
        return DeepBeliefNet(tuple(layers), self.top.rbm(dtype))

    # --------------------------------------------------------------- questions

    def features(self, v: Any) -> Array:
        """Return probabilities of the top's hidden units, by a mean-field pass up."""
        dtype = np.result_type(v.dtype, np.float32)
        return self._on_rows(self.net(dtype).features, v, dtype).astype(dtype)

    def log_bound(self, v: Any, n_draws: int) -> Array:
        """Return a lower bound on the log density of complete rows, in nats.

        In the units of X.
        """
        estimate, net = self.top.estimate, self.net(np.float64)
        device = resolve_device(self.device)

        def bound(x: Tensor) -> Tensor:
            return net.log_bound_unnormalized(x, n_draws, make_generator(0, device))

        level = 0.0 if estimate is None else estimate.log_normalizer
        log_bound = self._on_rows(bound, v, np.float64) - level
        return self.rbms[0].in_units_of_x(log_bound, v)

    def sample_down(self, h: Array, seed: int) -> Array:
        """Draw rows given states of the top's visible units."""
        device = resolve_device(self.device)
        top = to_tensor(h, np.float32, device)
        v = self.net(np.float32).sample_down(top, make_generator(seed, device))[0]
        return v.cpu().numpy().astype(np.float64)

    def _on_rows(
        self, function: Callable[[Tensor], Tensor], v: Any, dtype: Any
    ) -> Array:
        device = resolve_device(self.device)
        return np.concatenate(
            [on_chunk(function, rows, dtype, device) for rows in chunks(v)]
        )

    # ---------------------------------------------------------------- training

    def fine_tuned(
        self,
        v: Any,
        rng: np.random.RandomState,
        *,
        learning_rate: float,
        batch_size: int,
        n_epochs: int,
        on_epoch: Callable[..., bool],
    ) -> tuple[FittedDeepBelief, Loop]:
        """Train all layers together by the up-down algorithm.

        Returns the trained stack and the loop.
        """
        device = resolve_device(self.device)
        generator = make_generator(draw_seed(rng), device)
        net = self._own_net()
        x = v if sparse.issparse(v) else to_tensor(v, np.float32)
        schedule = RateSchedule(learning_rate, batch_size, "linear")
        run = UpDownRun(net, UpDown(N_SLEEP_STEPS), schedule, generator)
        loop = Loop(on_epoch=on_epoch, processes=current())
        loop.fit(run, EvenBatches(x, device), n_epochs)
        layers = tuple(
            tuple(
                to_numpy_tree(
                    [p.weight, p.bias, p.recognition_weight, p.recognition_bias]
                )
            )
            for p in net.layers
        )
        parameters = to_numpy_tree(net.top.parameters())
        state = dict(self.top.state, parameters=parameters)
        state = {k: v for k, v in state.items() if k not in ("velocity", "average")}
        top = replace(self.top, **parameters, state=state)
        return replace(self, rbms=(*self.rbms[:-1], top), layers=layers), loop

    def _own_net(self) -> DeepBeliefNet:
        """Return the net for training, which shares no memory with this value."""
        net = self.net(np.float32)
        copies: Any = {k: v.clone() for k, v in net.top.parameters().items()}
        return replace(net, top=replace(net.top, **copies))

    def calibrated_by(
        self, rows: Any, rng: np.random.RandomState, normalizer: Any
    ) -> FittedDeepBelief:
        """Return the stack whose log Z is computed from rows of the top RBM."""
        recent = some_rows(rows, rng)
        top = replace(self.top, normalizer=normalizer)
        top = top.with_recent_rows(recent, draw_seed(rng), keep=False)
        return replace(self, rbms=(*self.rbms[:-1], top))

    # ----------------------------------------------------------------- storage

    def to_arrays(self) -> dict[str, Any]:
        """Return the stack as arrays, numbers and words; see `from_arrays`."""
        return {
            "rbms": [rbm.to_arrays() for rbm in self.rbms],
            "layers": self.layers,
            "device": pack_device(self.device),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> FittedDeepBelief:
        """Return the stack that `to_arrays` described."""
        rbms = tuple(map(FittedRBM.from_arrays, arrays["rbms"]))
        return cls(rbms, arrays["layers"], unpack_device(arrays["device"]))
