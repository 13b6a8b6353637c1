"""Writes safetensors files tensor by tensor; the library's own writer needs all of them in memory."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from lzr2.temporary import Draft

Half = npt.NDArray[np.float16]

RESERVED_KEY = "__metadata__"
"""No tensor can be called this: the format keeps what isn't a tensor under it."""


def write_safetensors(path: Path, shapes: Mapping[str, tuple[int, ...]], tensors: Iterable[tuple[str, Half]]) -> None:
    """The file at the path is whole, synced and holds exactly these tensors, or is what it was before.

    Memory: one tensor.

    Args:
        path: of the file.
        shapes: of all tensors, in the order in which they come.
        tensors: key and float16 values of each.

    Raises:
        ValueError: a tensor isn't the one that its turn and shape announce, or has the one key that is reserved.
        OSError: it can't be written.
    """
    with Draft(path) as draft:
        write_tensors(draft.file, shapes, tensors)
        draft.put_in_place()


def write_tensors(file: BinaryIO, shapes: Mapping[str, tuple[int, ...]], tensors: Iterable[tuple[str, Half]]) -> None:
    """Writes all of a safetensors file's content to an open file. Arguments and errors as of `write_safetensors`.

    The format is described in the README of https://github.com/huggingface/safetensors.
    """
    if RESERVED_KEY in shapes:
        raise ValueError(f"the key {RESERVED_KEY} is reserved by the format")
    header: dict[str, Any] = {RESERVED_KEY: {"format": "pt"}}
    end = 0
    for key, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[key] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    coming = iter(shapes.items())
    for key, tensor in tensors:
        if next(coming, None) != (key, tensor.shape) or tensor.dtype != np.float16:
            raise ValueError(f"tensor {key!a} of shape {tensor.shape} isn't the one that was announced")
        file.write(np.ascontiguousarray(tensor).data)
    if next(coming, None) is not None:
        raise ValueError("fewer tensors than were announced")
