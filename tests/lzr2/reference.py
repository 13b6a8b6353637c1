"""A slow decoder that follows the format's five sentences, and a plain writer of records: what tests compare with."""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

GOLDEN = Path(__file__).parent.parent / "data" / "golden"


def golden_names() -> list[str]:
    return sorted(path.stem for path in GOLDEN.glob("*.lzr2"))


def bits(array: npt.NDArray[np.float16]) -> npt.NDArray[np.uint16]:
    """Patterns: tells -0.0 from 0.0, and one NaN from another."""
    return np.ascontiguousarray(array).view(np.uint16)


def decode(data: bytes) -> dict[str, npt.NDArray[np.float16]]:
    """Every tensor of a well-formed file."""
    tensors: dict[str, npt.NDArray[np.float16]] = {}
    at = 4
    while at < len(data):
        key_nbytes = _u32(data, at)
        key = data[at + 4 : at + 4 + key_nbytes].decode()
        at += 4 + key_nbytes
        ndim = _u32(data, at)
        shape = tuple(_u32(data, at + 4 + 4 * i) for i in range(ndim))
        flag = data[at + 4 + 4 * ndim]
        at += 4 + 4 * ndim + 1
        if flag == 1:
            tensors[key], at = _payload(data, at, shape)
    return tensors


def _payload(data: bytes, at: int, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.float16], int]:
    d, n_rows, n_columns = _u32(data, at), shape[0], math.prod(shape[1:])
    at += 4 + 4 * n_rows * d
    offset = np.frombuffer(data, "<f4", n_rows, at)
    scale = np.frombuffer(data, "<f4", n_rows, at + 4 * n_rows)
    at += 8 * n_rows
    z_nbytes = _u32(data, at)
    raw = zlib.decompress(data[at + 4 : at + 4 + z_nbytes])
    at += 4 + z_nbytes
    indices = np.frombuffer(raw, "<u2").reshape(n_rows, -1) if n_rows and raw else np.zeros((n_rows, 0), "<u2")
    n_blocks = indices.shape[1]
    count = _u32(data, at)
    narrow = max(n_rows, n_blocks) * d < 65536
    place = "<u2" if narrow else "<u4"
    # As an array: a Python float would change the pattern of a NaN.
    entries = np.frombuffer(data, [("row", place), ("column", place), ("value", "<f4")], count, at + 4)
    at += 4 + count * (8 if narrow else 12)

    # 1 and 2: digits of the blocks in order, cut to the row; 0 where they don't reach
    digit = np.zeros((n_rows, n_columns), np.float32)
    for row, block in itertools.product(range(n_rows), range(n_blocks)):
        for k in range(d):
            column = block * d + k
            if column < n_columns:
                digit[row, column] = int(indices[row, block]) // 3 ** (d - 1 - k) % 3 - 1
    with np.errstate(all="ignore"):
        value = ((digit + offset[:, None]).astype(np.float32) * scale[:, None]).astype(np.float32)  # 3
        for entry in entries:  # 4
            if entry["row"] < n_rows and entry["column"] < n_columns:
                value[entry["row"], entry["column"]] = entry["value"]
        return value.astype(np.float16).reshape(shape), at  # 5


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def record(
    key: str | bytes,
    shape: Sequence[int],
    d: int,
    offset: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    indices: npt.NDArray[np.uint16],
    overlay: Iterable[tuple[int, int, float]] = (),
    *,
    stream: bytes | None = None,
    wide: bool | None = None,
    flag: int = 1,
) -> bytes:
    """One record; `stream` and `wide` replace what follows from the indices."""
    name = key.encode() if isinstance(key, str) else key
    entries = list(overlay)
    if wide is None:
        wide = max(shape[0], indices.shape[1]) * d >= 65536
    stream = zlib.compress(indices.astype("<u2").tobytes()) if stream is None else stream
    return b"".join(
        (
            header(name, shape, flag),
            struct.pack("<I", d),
            np.full(shape[0] * d, np.nan, "<f4").tobytes(),
            np.asarray(offset, "<f4").tobytes(),
            np.asarray(scale, "<f4").tobytes(),
            struct.pack("<I", len(stream)),
            stream,
            struct.pack("<I", len(entries)),
            *(struct.pack("<IIf" if wide else "<HHf", *entry) for entry in entries),
        )
    )


def header(key: str | bytes, shape: Sequence[int], flag: int) -> bytes:
    name = key.encode() if isinstance(key, str) else key
    return struct.pack("<I", len(name)) + name + struct.pack(f"<I{len(shape)}IB", len(shape), *shape, flag)


def simple_record(key: str = "a.weight", rows: int = 3, columns: int = 20, d: int = 8, seed: int = 0) -> bytes:
    """A sane record with a few overlay entries."""
    rng = np.random.default_rng(seed)
    n_blocks = -(-columns // d)
    return record(
        key,
        (rows, columns),
        d,
        rng.normal(0, 0.1, rows),
        rng.normal(0, 0.1, rows),
        rng.integers(0, 3 ** min(d, 10), (rows, n_blocks)).astype(np.uint16),
        [(int(rng.integers(rows)), int(rng.integers(columns)), float(rng.normal())) for _ in range(5)],
    )


def lzr2(*records: bytes) -> bytes:
    """A file of these records."""
    return b"LZR2" + b"".join(records)


def flips(data: bytes, positions: Iterable[int]) -> Iterator[bytes]:
    """`data` with one bit changed, once for each bit position."""
    for position in positions:
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        yield bytes(changed)


def payload(
    shape: tuple[int, ...] = (3, 20),
    d: int = 8,
    stream: bytes | None = None,
    z_nbytes: int | None = None,
    count: int = 0,
    entries: bytes = b"",
    key: str = "a",
) -> bytes:
    """A file of one record whose fields are as given, fitting or not."""
    blocks = -(-int(np.prod(shape[1:], dtype=object)) // d) if d else 0
    stream = zlib.compress(bytes(2 * shape[0] * blocks)) if stream is None else stream
    return b"".join(
        (
            b"LZR2",
            header(key, shape, 1),
            struct.pack("<I", d),
            bytes(4 * shape[0] * (d + 2)),
            struct.pack("<I", len(stream) if z_nbytes is None else z_nbytes),
            stream,
            struct.pack("<I", count),
            entries,
        )
    )
