"""Fitted estimators that pickle as NumPy arrays."""

from __future__ import annotations

import torch

from skebm.models._specification import build_network
from skebm.utils import (
    isolated_rng,
    resolve_device,
    to_numpy_tree,
    to_tensor_tree,
)


class PortableStateMixin:
    """Turns nets, densities and optimisers into arrays when pickled, and back.

    So a model fitted on a GPU loads where there is none, equal models hash alike, and
    skops can store them. The nets are built anew from the builder they came from. The
    epochs' clock times are left behind, no two fits being equal in them.
    """

    def __copy__(self):
        """Return a copy that shares the nets."""
        shallow = type(self).__new__(type(self))
        shallow.__dict__.update(self.__dict__)
        return shallow

    def __getstate__(self):
        state = super().__getstate__().copy()
        run = state.pop("_run", None)
        if state.pop("network_", None) is None:  # not fitted
            return state
        history = state["history_"].items()
        state["history_"] = {k: v for k, v in history if k != "seconds"}
        state["reference_"] = _packed(state["reference_"])
        scores = state["_ood_scores"].items()
        state["_ood_scores"] = {name: _packed(score) for name, score in scores}
        state["_run"] = to_numpy_tree(run.state_dict())
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "_run" not in state:
            return
        self._device = _nearest_device(self._device)
        device = torch.device(self._device)
        packed = state["reference_"]
        arrays = to_tensor_tree(packed["arrays"])
        self.reference_ = packed["class"](**arrays).to(device)
        scores = state["_ood_scores"].items()
        self._ood_scores = {
            name: packed["class"]
            .from_arrays(to_tensor_tree(packed["arrays"]))
            .to(device)
            for name, packed in scores
        }
        self._run = self._rebuild_run(to_tensor_tree(state["_run"]), device)
        self.network_ = self._run.averaged_model.network.eval()

    def _rebuild_run(self, snapshot, device):
        with isolated_rng(0, device):
            network = build_network(
                self._network_builder, self.n_features_in_, self._n_outputs
            )
            run = self._start_run(network.to(device))
        stream = run.generator.get_state()
        if len(snapshot["generator"]) != len(stream):
            snapshot["generator"] = stream  # CUDA's state means nothing on a CPU
        run.restore(snapshot)
        return run


def _packed(module):
    """Return class and arrays of a module that its tensors make up."""
    return {"class": type(module), "arrays": to_numpy_tree(module.arrays())}


def _nearest_device(device):
    """Return the device, or the CPU where that device is not on this machine."""
    try:
        return str(resolve_device(device))
    except ValueError:
        return "cpu"
