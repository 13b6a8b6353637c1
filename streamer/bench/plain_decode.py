"""The format's five steps in plain numpy, each as directly as numpy says it: what speeds are compared with."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

import lzr2


def decode(
    data: memoryview, record: lzr2.RecordInfo, out: npt.NDArray[np.float16] | None = None
) -> npt.NDArray[np.float16]:
    """One tensor of a file whose content is `data`; written into `out`, of as many weights, where that is given."""
    n_rows, n_columns, d = record.n_rows, record.n_columns, record.d
    offset = np.frombuffer(data, "<f4", n_rows, record.offset_start)
    scale = np.frombuffer(data, "<f4", n_rows, record.scale_start)
    stream = data[record.indices_start : record.indices_start + record.z_nbytes]
    indices = np.frombuffer(zlib.decompress(stream), "<u2").reshape(n_rows, -1)
    powers = 3 ** np.arange(d - 1, -1, -1)
    codebook = (np.arange(3**d)[:, None] // powers % 3 - 1).astype(np.float32)  # 1
    lattice = codebook[indices].reshape(n_rows, -1)[:, :n_columns]  # 2
    values = np.zeros((n_rows, n_columns), np.float32)
    values[:, : lattice.shape[1]] = lattice
    values = (values + offset[:, None]) * scale[:, None]  # 3
    place = "<u2" if record.entry_nbytes == 8 else "<u4"
    dtype = np.dtype([("row", place), ("column", place), ("value", "<f4")])
    entries = np.frombuffer(data, dtype, record.overlay_count, record.overlay_start)
    inside = (entries["row"] < n_rows) & (entries["column"] < n_columns)
    entries = entries[inside]
    values[entries["row"], entries["column"]] = entries["value"]  # 4
    rounded = np.empty(record.shape, np.float16) if out is None else out.reshape(record.shape)
    with np.errstate(over="ignore"):
        np.copyto(rounded, values.reshape(record.shape), casting="same_kind")  # 5
    return rounded
