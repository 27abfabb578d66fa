"""A fitted model as arrays, and back.

So a model fitted on a GPU loads where there is none, equal models hash alike, and skops
can store them. Nets are built anew from the builder they came from. Durations of epochs
are dropped: equal fits differ in them. What only further training needs (optimisers,
weights before averaging) is kept where a model was fitted to go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from skebm.models._assembly import Assembly
from skebm.models._calibration import Calibration
from skebm.models._outcome import Outcome
from skebm.models._specification import Specification
from skebm.objectives import Objective
from skebm.tables import TableEncoder
from skebm.utils import nearest_device, to_numpy_tree, to_tensor_tree

Model = TypeVar("Model")


def to_arrays(fitted: Any) -> dict[str, Any]:
    """Return a fitted model as arrays, options and numbers, without tensors.

    log Z and outlier scores are computed where they are not yet known, so that no row
    of the training data is part of the state.
    """
    history = fitted.outcome.history.items()
    assembly = fields_of(fitted.assembly)
    del assembly["folds"]
    assembly["encoder"] = fitted.encoder.to_arrays()
    reference = fitted.reference
    assembly["reference"] = {
        "class": type(reference),
        "arrays": _without_zeros(to_numpy_tree(reference.arrays())),
    }
    run = fitted.run
    keeps_run = fitted.specification.keeps_run
    _ = fitted.estimate, fitted.detector
    return {
        "specification": fields_of(fitted.specification),
        "assembly": assembly,
        "objective": _pack_objective(fitted),
        "run": to_numpy_tree(run.state_dict() if keeps_run else run.learnt_state()),
        "outcome": fields_of(fitted.outcome)
        | {"history": {k: v for k, v in history if k != "seconds"}},
        "calibration": fitted.calibration.to_arrays(),
    }


def from_arrays(kind: Callable[..., Model], state: dict[str, Any]) -> Model:
    """Return the model of a kind that `to_arrays` described, on a device here."""
    parts = dict(state["assembly"])
    name = nearest_device(parts["device"])
    device = torch.device(name)
    packed = parts["reference"]
    arrays = _with_zeros(packed["arrays"])
    reference = packed["class"](**to_tensor_tree(arrays)).to(device)
    parts |= {
        "device": name,
        "encoder": TableEncoder.from_arrays(parts["encoder"]),
        "reference": reference,
    }
    assembly = Assembly(**parts)
    # States of format 1 keep all of a run.
    options = {"keeps_run": True} | state["specification"] | {"device": name}
    specification = Specification(**options)
    objective = _unpack_objective(state["objective"], specification.objective)
    run = assembly.rebuild_run(objective)
    snapshot = to_tensor_tree(state["run"])
    stream = run.generator.get_state()
    if len(snapshot["generator"]) != len(stream):
        snapshot["generator"] = stream  # CUDA's state means nothing on a CPU
    run.restore(snapshot)
    return kind(
        specification,
        assembly,
        objective,
        run,
        run.averaged_model.network.eval(),
        Outcome(**state["outcome"]),
        Calibration.from_arrays(state["calibration"], device),
    )


def _without_zeros(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return arrays, stacks of lower triangular matrices as their triangles."""
    return {
        name: {"triangles": array[..., *np.tril_indices(array.shape[-1])]}
        if _is_triangular(array)
        else array
        for name, array in arrays.items()
    }


def _is_triangular(array: Any) -> bool:
    if not isinstance(array, np.ndarray) or array.ndim < 3:
        return False
    is_square = array.shape[-1] == array.shape[-2] > 1
    return is_square and not np.triu(array, 1).any()


def _with_zeros(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays that `_without_zeros` was given."""
    whole = {}
    for name, array in arrays.items():
        if isinstance(array, dict):
            triangles = array["triangles"]
            n = int(np.sqrt(2 * triangles.shape[-1]))
            shape = (*triangles.shape[:-1], n, n)
            array = np.zeros(shape, dtype=triangles.dtype)
            array[..., *np.tril_indices(n)] = triangles
        whole[name] = array
    return whole


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by name, themselves not taken apart."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _pack_objective(fitted: Any) -> dict[str, Any] | None:
    """Return the objective's class and options; None where the options name it."""
    objective = fitted.objective
    if objective is fitted.specification.objective:
        return None
    options = objective.get_params(deep=False)
    tensors = [name for name, value in options.items() if isinstance(value, Tensor)]
    arrays = {name: options[name].cpu().numpy() for name in tensors}
    return {"class": type(objective), "options": options | arrays, "tensors": tensors}


def _unpack_objective(
    packed: dict[str, Any] | None, objective: Objective | None
) -> Objective:
    if packed is None:
        assert objective is not None
        return objective
    tensors = {n: torch.from_numpy(packed["options"][n]) for n in packed["tensors"]}
    return packed["class"](**(packed["options"] | tensors))
