"""AdamW without an import of torch's compiler, which a fit does not need."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.optim import Optimizer


def _plain(name: str) -> Any:
    """Return a method of `Optimizer` without what hides it from torch.compile.

    That imports the compiler at the first call: a second in each process that fits.
    """
    return inspect.unwrap(getattr(Optimizer, name))


class AdamW(torch.optim.AdamW):
    """Fused `torch.optim.AdamW`; it is not meant to be compiled."""

    add_param_group = _plain("add_param_group")
    zero_grad = _plain("zero_grad")
    state_dict = _plain("state_dict")
    load_state_dict = _plain("load_state_dict")
