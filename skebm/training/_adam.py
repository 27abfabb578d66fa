"""AdamW without an import of torch's compiler, which a fit does not need."""

from __future__ import annotations

import inspect
from typing import Any

import torch


def _plain(name: str) -> Any:
    """Return a method of AdamW without what hides it from torch.compile.

    That imports the compiler at the first call: a second in each process that fits.
    """
    return inspect.unwrap(getattr(torch.optim.AdamW, name))


class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW`, not meant to be compiled."""

    add_param_group = _plain("add_param_group")
    zero_grad = _plain("zero_grad")
    state_dict = _plain("state_dict")
    load_state_dict = _plain("load_state_dict")
    step = torch.no_grad()(_plain("step"))
