"""Files of named arrays and words, in the format of safetensors.

A file is the length of its header (8 bytes), the header (JSON: dtype, shape and place
of each array, and words), and the bytes of the arrays. Nothing in it is executed. See
https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np

#: Names of dtypes in the file.
DTYPES = {
    "BOOL": np.dtype("bool"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
#: Longest header that is read.
MAX_HEADER = 100_000_000


class NoTensorFileError(ValueError):
    """A file that is not of this format, or damaged."""


def holds(dtype: np.dtype) -> bool:
    """Return whether arrays of a dtype can be written."""
    return dtype.newbyteorder("<") in NAMES


def write(
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray], words: Mapping[str, str]
) -> None:
    """Write arrays and words to a file, in place of one that is there; or nothing."""
    header: dict = {"__metadata__": dict(words)}
    parts, place = [], 0
    # As the format's library has it: wide items first, so that each is aligned.
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    for name in order:
        array = arrays[name]
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        header[name] = {
            "dtype": NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [place, place + len(data)],
        }
        parts.append(data)
        place += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    replace_file(path, b"".join([struct.pack("<Q", len(text)), text, *parts]))


def read(
    path: str | os.PathLike,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and words of a file.

    Raises
    ------
    NoTensorFileError
        Where the file is of another format, or damaged.
    """
    data = Path(path).read_bytes()
    try:
        (length,) = struct.unpack("<Q", data[:8])
        if length > min(MAX_HEADER, len(data) - 8):
            raise ValueError
        header = json.loads(data[8 : 8 + length])
        words = header.pop("__metadata__", {})
        body = memoryview(data)[8 + length :]
        arrays = {name: _array(body, about) for name, about in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise NoTensorFileError(f"{path} is no safetensors file.") from error
    return arrays, words


def _array(body: memoryview, about: Mapping) -> np.ndarray:
    """Return an array of the body; raise where header and body don't match."""
    begin, end = about["data_offsets"]
    dtype, shape = DTYPES[about["dtype"]], tuple(about["shape"])
    if not 0 <= begin <= end <= len(body):
        raise ValueError
    array = np.frombuffer(body[begin:end], dtype=dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=True)


def replace_file(path: str | os.PathLike, data: bytes) -> None:
    """Write a file as a whole: readers see the old one or the new one."""
    path = Path(path).resolve()
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
