"""A second device in Python: tensors elsewhere, whose arithmetic is the CPU's.

`install` registers the device "standin". An operation of its tensors with a CPU tensor
that is not a single number fails, as on a GPU; so does a conversion to NumPy that did
not go through `Tensor.cpu`. Each operation is counted by name: "_local_scalar_dense" is
a wait for the device (``float(x)``, ``x.item()``), and so is "nonzero".

It uses torch's back ends in Python, which are experimental: run it in a process of its
own.
"""

from __future__ import annotations

import collections

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._device import _device_constructors

NAME = "standin"
CPU = torch.device("cpu")
#: Operations that CUDA, too, lets take CPU tensors: indices, and copies.
MIXED = {"index", "index_put", "index_put_", "_index_put_impl_", "copy_", "_to_copy"}
CONSTRUCTORS = _device_constructors()
LIBRARY = torch.library.Library("_", "IMPL")
counts: collections.Counter[str] = collections.Counter()


def install():
    """Register the device and stand in for generators, which Python can't give it."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME)
    LIBRARY.fallback(on_the_device, "PrivateUse1")
    torch.Generator = Generator
    Constructors().__enter__()


class Generator(torch.Generator):
    """A CPU generator that names the device that it was asked for."""

    def __new__(cls, device="cpu"):
        """Return a generator."""
        generator = super().__new__(cls)
        generator.home = torch.device(device)
        return generator

    @property
    def device(self):
        """The device of numbers that are drawn from it."""
        return self.home


class Elsewhere(torch.Tensor):
    """A tensor on the device; ``raw`` holds its numbers."""

    @staticmethod
    def __new__(cls, raw):
        """Return a tensor of some numbers."""
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            raw.shape,
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=f"{NAME}:0",
        )
        tensor.raw = raw
        return tensor

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        """Call what torch does not do for tensors of a class of one's own."""
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if name == "tolist":
            counts["_local_scalar_dense"] += 1
            return args[0].cpu().tolist()
        if name == "new_tensor":
            place = kwargs.pop("device", None) or args[0].device
            return torch.tensor(args[1], **{"dtype": args[0].dtype, **kwargs}).to(place)
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        """Compute on the CPU, and put the result back on the device."""
        kwargs = kwargs or {}
        name = operation.name().split("::")[1].split(".")[0]
        counts[name] += 1
        flat, tree = pytree.tree_flatten((args, kwargs))
        tensors = [x for x in flat if isinstance(x, torch.Tensor)]
        away = [x for x in tensors if isinstance(x, Elsewhere)]
        at_home = [x for x in tensors if not isinstance(x, Elsewhere) and x.dim() > 0]
        if away and at_home and name not in MIXED:
            shapes = [tuple(x.shape) for x in at_home]
            raise RuntimeError(f"{name}: a tensor of shape {shapes[0]} is on the CPU")
        raw_args, raw_kwargs = pytree.tree_unflatten([to_raw(x) for x in flat], tree)
        result = operation(*raw_args, **raw_kwargs)
        if name == "copy_":
            return args[0]
        same = {id(x.raw): x for x in away}
        to_cpu = torch.device(kwargs.get("device") or NAME).type == "cpu"

        def put(x):
            if not isinstance(x, torch.Tensor):
                return x
            if to_cpu:
                return x.clone() if id(x) in same else x
            return same[id(x)] if id(x) in same else Elsewhere(x)

        return pytree.tree_map(put, result)


def on_the_device(operation, *args, **kwargs):
    """Do what was asked of the device without any tensor on it: move one to it."""
    return Elsewhere.__torch_dispatch__(operation, (), args, kwargs)


def to_raw(x):
    """Return the numbers of a tensor elsewhere, and the CPU for the device."""
    if isinstance(x, Elsewhere):
        return x.raw
    return CPU if isinstance(x, torch.device) else x


class Constructors(TorchFunctionMode):
    """Build tensors that are asked for on the device."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """Build on the CPU and move."""
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if args and isinstance(args[0], Elsewhere):
            if name == "new_tensor":
                return Elsewhere.__torch_function__(function, types, args, kwargs)
            if name in ("__getitem__", "__setitem__") and isinstance(args[1], tuple):
                index = (torch.tensor(i) if isinstance(i, list) else i for i in args[1])
                args = (args[0], tuple(index), *args[2:])
        place = kwargs.get("device")
        if function not in CONSTRUCTORS or place is None:
            return function(*args, **kwargs)
        if torch.device(place).type != NAME:
            return function(*args, **kwargs)
        if args and isinstance(args[0], torch.Tensor):  # of as_tensor
            return args[0].to(place)
        needs_gradient = kwargs.pop("requires_grad", False)
        built = function(*args, **kwargs | {"device": CPU}).to(place)
        return built.requires_grad_() if needs_gradient else built
