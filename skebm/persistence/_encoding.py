"""Stored states as JSON and named arrays, and back.

JSON holds None, booleans, whole numbers, finite floats, words and lists as they are.
Anything else is an object of one tag, whose name begins with a dollar sign, and what it
stands for.
"""

from __future__ import annotations

import copyreg
import functools
import inspect
import json
import math

import numpy as np
import pandas as pd
import torch

from skebm.persistence import _tensor_file
from skebm.persistence._trusted import find_class, name_of


class Encoder:
    """Takes values apart into JSON and arrays.

    Parameters
    ----------
    trusted : sequence of classes and functions
        Those beside the ones of skebm that values may be, or be made of.
    """

    def __init__(self, trusted=()):
        self.trusted = tuple(trusted)
        self.arrays = {}
        self._names = {}
        self._tensors = {}

    def encode(self, value):
        """Return a value as JSON; its arrays are added to ``arrays``.

        Raises
        ------
        TypeError
            Where a value is of a type that the format does not have; names it.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        if type(value) is list:
            return [self.encode(item) for item in value]
        for kind, tag, encode in _ENCODERS:
            if isinstance(value, kind):
                return {tag: encode(self, value)}
        return {"$object": self._object(value)}

    def keep(self, array):
        """Return the name of an array in the file; of one array there is one copy."""
        if id(array) not in self._names:
            name = f"array_{len(self.arrays)}"
            self._names[id(array)] = name, array  # which keeps its id
            self.arrays[name] = np.asarray(array)
        return self._names[id(array)][0]

    def array(self, value):
        """Return an array of any dtype as JSON."""
        dtype = value.dtype
        if type(value) is not np.ndarray:
            raise _refused(value)
        if _tensor_file.holds(dtype):
            return self.keep(value)
        about = {"shape": list(value.shape)}
        if dtype.kind == "O":
            return about | {"items": [self.encode(item) for item in value.ravel()]}
        if dtype.kind == "U":
            return about | {"words": value.ravel().tolist(), "dtype": dtype.str}
        if dtype.kind in "mM":
            return about | {"dtype": dtype.str, "whole": self.keep(value.view("i8"))}
        if dtype.kind == "V" and dtype.names and not dtype.hasobject:
            data = np.frombuffer(value.tobytes(), dtype=np.uint8)
            offsets = [dtype.fields[name][1] for name in dtype.names]
            formats = [dtype.fields[name][0].str for name in dtype.names]
            record = [list(dtype.names), formats, offsets, dtype.itemsize]
            return about | {"record": record, "bytes": self.keep(data)}
        raise TypeError(f"An array of dtype {dtype} can't be saved.")

    def tensor(self, value):
        """Return a tensor as JSON; of one tensor there is one copy, then and later."""
        if id(value) not in self._tensors:
            found = value.detach().cpu()
            if found.dtype == torch.bfloat16:  # NumPy has none
                found = found.view(torch.int16)
            self._tensors[id(value)] = value, found.numpy()  # which keeps its id
        array = self.array(self._tensors[id(value)][1])
        if value.dtype == torch.bfloat16:
            array = {"bfloat16": array}
        if isinstance(value, torch.nn.Parameter):
            return {"parameter": array, "is_trained": value.requires_grad}
        return array

    def reference(self, kind):
        """Return the name of a class, or of a trusted function."""
        find_class(name_of(kind), self.trusted)
        return name_of(kind)

    def _object(self, value):
        """Return the class and the state of an object."""
        kind = type(value)
        name = self.reference(kind)
        reduced = value.__reduce_ex__(4)
        if isinstance(reduced, str) or any(x is not None for x in reduced[3:]):
            raise _refused(value)
        make, args, state = (*reduced[:3], None)[:3]
        if make is copyreg.__newobj__:
            how, args = "new", args[1:]
        elif make is kind:
            how = "call"
        else:
            raise _refused(value)
        return {
            "class": name,
            "how": how,
            "args": [self.encode(item) for item in args],
            "state": self.encode(state),
        }


def _refused(value):
    return TypeError(
        f"An object of type {name_of(type(value))} can't be saved; pickle or skops can."
    )


def _pairs(encoder, value):
    if type(value) is not dict:
        raise _refused(value)
    return [[encoder.encode(k), encoder.encode(v)] for k, v in value.items()]


def _items(encoder, value):
    if type(value) not in (tuple, set, frozenset):
        raise _refused(value)
    return [encoder.encode(item) for item in value]


def _partial(encoder, value):
    parts = value.func, value.args, value.keywords
    return [encoder.encode(part) for part in parts]


#: Types with tags of their own, in the order in which they are tried.
_ENCODERS = [
    (dict, "$dict", _pairs),
    (tuple, "$tuple", _items),
    (set, "$set", _items),
    (frozenset, "$frozenset", _items),
    (
        bytes,
        "$bytes",
        lambda encoder, value: encoder.keep(np.frombuffer(value, dtype=np.uint8)),
    ),
    (np.generic, "$scalar", lambda encoder, value: encoder.array(np.array(value))),
    (np.ndarray, "$array", Encoder.array),
    (np.dtype, "$dtype", lambda encoder, value: value.str),
    (torch.device, "$device", lambda encoder, value: str(value)),
    (torch.Tensor, "$tensor", Encoder.tensor),
    (
        np.random.RandomState,
        "$random_state",
        lambda encoder, value: encoder.encode(value.get_state()),
    ),
    (functools.partial, "$partial", _partial),
    (type, "$class", Encoder.reference),
    (type(_partial), "$class", Encoder.reference),
    (type(pd.NA), "$missing", lambda encoder, value: "NA"),
]


class Decoder:
    """Puts values together again.

    Parameters
    ----------
    arrays : dict of str to ndarray
        The arrays of the file.
    trusted : sequence of classes and functions
        Those beside the ones of skebm that values may be, or be made of.
    """

    def __init__(self, arrays, trusted=()):
        self.arrays, self.trusted = arrays, tuple(trusted)
        self._tensors = {}

    def decode(self, value):
        """Return the value that JSON stands for.

        Raises
        ------
        TypeError
            Where it names a class that is neither of skebm nor trusted.
        """
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        ((tag, about),) = value.items()
        return getattr(self, f"as_{tag.removeprefix('$')}")(about)

    def as_float(self, about):
        """Return a float that is not finite."""
        return float(about)

    def as_dict(self, about):
        """Return a dict."""
        return {self.decode(key): self.decode(value) for key, value in about}

    def as_tuple(self, about):
        """Return a tuple."""
        return tuple(self.decode(about))

    def as_set(self, about):
        """Return a set."""
        return set(self.decode(about))

    def as_frozenset(self, about):
        """Return a frozen set."""
        return frozenset(self.decode(about))

    def as_bytes(self, about):
        """Return bytes."""
        return self.arrays[about].tobytes()

    def as_array(self, about):
        """Return an array."""
        if isinstance(about, str):
            return self.arrays[about]
        shape = tuple(about["shape"])
        if "items" in about:
            array = np.empty(len(about["items"]), dtype=object)
            array[:] = self.decode(about["items"])
            return array.reshape(shape)
        if "words" in about:
            return np.array(about["words"], dtype=about["dtype"]).reshape(shape)
        if "whole" in about:
            return self.arrays[about["whole"]].view(about["dtype"]).reshape(shape)
        names, formats, offsets, itemsize = about["record"]
        dtype = np.dtype(
            {
                "names": names,
                "formats": formats,
                "offsets": offsets,
                "itemsize": itemsize,
            }
        )
        data = self.arrays[about["bytes"]].tobytes()
        return np.frombuffer(data, dtype=dtype).reshape(shape).copy()

    def as_scalar(self, about):
        """Return a scalar of NumPy."""
        return self.as_array(about)[()]

    def as_dtype(self, about):
        """Return a dtype of NumPy."""
        return np.dtype(about)

    def as_device(self, about):
        """Return a device of torch."""
        return torch.device(about)

    def as_tensor(self, about):
        """Return a tensor; the same one for the same array."""
        key = json.dumps(about)
        if key not in self._tensors:
            self._tensors[key] = self._tensor(about)
        return self._tensors[key]

    def _tensor(self, about):
        if isinstance(about, dict) and "parameter" in about:
            tensor = self._tensor(about["parameter"])
            return torch.nn.Parameter(tensor, about["is_trained"])
        if isinstance(about, dict) and "bfloat16" in about:
            return torch.from_numpy(self.as_array(about["bfloat16"])).view(
                torch.bfloat16
            )
        return torch.from_numpy(self.as_array(about))

    def as_random_state(self, about):
        """Return a random state of NumPy."""
        random_state = np.random.RandomState()
        random_state.set_state(self.decode(about))
        return random_state

    def as_partial(self, about):
        """Return a class with some of its arguments."""
        function, args, keywords = self.decode(about)
        return functools.partial(function, *args, **keywords)

    def as_class(self, about):
        """Return a class."""
        return find_class(about, self.trusted)

    def as_missing(self, about):
        """Return the missing value of pandas."""
        return pd.NA

    def as_object(self, about):
        """Return an object of a class, in its state."""
        kind = find_class(about["class"], self.trusted)
        if not inspect.isclass(kind):
            raise TypeError(f"{about['class']} is no class.")
        args, state = self.decode(about["args"]), self.decode(about["state"])
        value = kind(*args) if about["how"] == "call" else kind.__new__(kind, *args)
        if state is None:
            return value
        if hasattr(value, "__setstate__"):
            value.__setstate__(state)
            return value
        of_slots = {}
        if isinstance(state, tuple):
            state, of_slots = state
        for name, item in {**(state or {}), **(of_slots or {})}.items():
            object.__setattr__(value, name, item)  # some are frozen
        return value
