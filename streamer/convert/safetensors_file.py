"""Writes safetensors files tensor by tensor; the library's own writer needs all of them in memory."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2.temporary import create_beside

Half = npt.NDArray[np.float16]


def write_safetensors(path: Path, shapes: Mapping[str, tuple[int, ...]], tensors: Iterable[tuple[str, Half]]) -> None:
    """The file at the path is whole, synced and holds exactly these tensors, or is what it was before.

    Memory: one tensor. The format is described in the README of https://github.com/huggingface/safetensors.

    Args:
        path: of the file.
        shapes: of all tensors, in the order in which they come.
        tensors: key and float16 values of each.

    Raises:
        ValueError: a tensor isn't the one that its turn and shape announce.
        OSError: it can't be written.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for key, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[key] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    fd, partial = create_beside(path)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            coming = iter(shapes.items())
            for key, tensor in tensors:
                if next(coming, None) != (key, tensor.shape) or tensor.dtype != np.float16:
                    raise ValueError(f"tensor {key!a} of shape {tensor.shape} isn't the one that was announced")
                file.write(np.ascontiguousarray(tensor).data)
            if next(coming, None) is not None:
                raise ValueError("fewer tensors than were announced")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
