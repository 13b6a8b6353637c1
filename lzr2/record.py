"""Frozen data: where a record's sections are (RecordInfo) and what they hold (EncodedTensor)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lzr2 import layout
from lzr2.errors import InvalidTensorError


@dataclass(frozen=True, slots=True)
class RecordInfo:
    """Where one record and its sections lie in the file; immutable, a few hundred bytes.

    All offsets count bytes from the start of the file. `d` is 0 for a record without payload.
    `entry_nbytes` (8 or 12) follows from the number of blocks, which only inflating reveals: it is
    checked again at every decode.
    """

    key: str
    shape: tuple[int, ...]
    start: int
    payload_start: int
    end: int
    d: int = 0
    z_nbytes: int = 0
    overlay_count: int = 0
    entry_nbytes: int = layout.NARROW_ENTRY_NBYTES
    checksum: int | None = None

    @property
    def has_payload(self) -> bool:
        """Whether the record sets the tensor; otherwise it stays as the base model has it."""
        return self.d > 0

    @property
    def n_weights(self) -> int:
        """C x N."""
        return math.prod(self.shape)

    @property
    def n_rows(self) -> int:
        """C: the first dimension."""
        return self.shape[0]

    @property
    def n_columns(self) -> int:
        """N: the product of the other dimensions; 1 if there are none."""
        return math.prod(self.shape[1:])

    @property
    def record_nbytes(self) -> int:
        """Bytes of the whole record, header included."""
        return self.end - self.start

    @property
    def payload_nbytes(self) -> int:
        """Bytes from `d` to the end; 0 without payload."""
        return self.end - self.payload_start

    @property
    def header_nbytes(self) -> int:
        """Everything that is none of the five sections: header, d, and the two counts."""
        return self.payload_start - self.start + (12 if self.has_payload else 0)

    @property
    def aux_start(self) -> int:
        """Where the aux section starts (after `d`)."""
        return self.payload_start + 4

    @property
    def aux_nbytes(self) -> int:
        """Bytes of the aux section: float32 [C, d]."""
        return 4 * self.n_rows * self.d if self.has_payload else 0

    @property
    def offset_start(self) -> int:
        """Where the offset section starts."""
        return self.payload_start + 4 + (4 * self.shape[0] * self.d if self.d else 0)

    @property
    def offset_nbytes(self) -> int:
        """Bytes of the offset section: float32 [C]."""
        return 4 * self.n_rows if self.has_payload else 0

    @property
    def scale_start(self) -> int:
        """Where the scale section starts."""
        return self.offset_start + (4 * self.shape[0] if self.d else 0)

    @property
    def scale_nbytes(self) -> int:
        """Bytes of the scale section: float32 [C]."""
        return self.offset_nbytes

    @property
    def indices_start(self) -> int:
        """Where the zlib stream starts (after its length)."""
        # Counted from the start, not from the section before: files may have many thousand records.
        return self.payload_start + 8 + (layout.tables_nbytes(self.shape[0], self.d) if self.d else 0)

    @property
    def indices_nbytes(self) -> int:
        """Length of the zlib stream."""
        return self.z_nbytes

    @property
    def overlay_start(self) -> int:
        """Where the first overlay entry starts (after their count)."""
        return self.indices_start + self.z_nbytes + 4

    @property
    def overlay_nbytes(self) -> int:
        """Bytes of all overlay entries."""
        return self.overlay_count * self.entry_nbytes


def _no_entries() -> npt.NDArray[np.uint16]:
    return np.zeros(0, np.uint16)


def _no_values() -> npt.NDArray[np.float32]:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class EncodedTensor:
    """One tensor as the sections of a record, checked when made: a writer can write it as it is.

    shape: dimensions, at least one. d: weights an index stands for, 1 to 32.
    aux float32 [C, d] (never used in reconstruction; None writes zeros); offset, scale: float32 [C].
    indices uint16 [C, B], each below 3^d. overlay_rows, overlay_columns: unsigned [n], places in the tensor;
    overlay_values: float32 or float16 [n].
    Raises InvalidTensorError where the sections don't fit each other.
    """

    shape: tuple[int, ...]
    d: int
    offset: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    indices: npt.NDArray[np.uint16]
    overlay_rows: npt.NDArray[np.unsignedinteger] = field(default_factory=_no_entries)
    overlay_columns: npt.NDArray[np.unsignedinteger] = field(default_factory=_no_entries)
    overlay_values: npt.NDArray[np.floating] = field(default_factory=_no_values)
    aux: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.shape, (tuple, list)) or not all(isinstance(n, (int, np.integer)) for n in self.shape):
            raise InvalidTensorError("the shape isn't one", found=repr(self.shape), expected="whole numbers")
        if not isinstance(self.d, (int, np.integer)):
            raise InvalidTensorError("block length d", found=repr(self.d), expected="1 to 32")
        if not 1 <= len(self.shape) <= layout.MAX_NDIM:
            raise InvalidTensorError("number of dimensions", found=len(self.shape), expected="1 to 8")
        if not all(0 <= n < 2**32 for n in self.shape) or self.n_weights > layout.MAX_WEIGHTS:
            raise InvalidTensorError("tensor too large", found=self.shape, expected="at most 2^33 weights")
        if not 1 <= self.d <= layout.MAX_D:
            raise InvalidTensorError("block length d", found=self.d, expected="1 to 32")
        for name in ("offset", "scale", "indices", "overlay_rows", "overlay_columns", "overlay_values", "aux"):
            section = getattr(self, name)
            if not isinstance(section, np.ndarray) and not (name == "aux" and section is None):
                raise InvalidTensorError(f"section {name}", found=type(section).__name__, expected="a numpy array")
        c = self.n_rows
        self._expect("offset", self.offset, (c,), "f")
        self._expect("scale", self.scale, (c,), "f")
        if self.aux is not None:
            self._expect("aux", self.aux, (c, self.d), "f")
        self._expect("indices", self.indices, (c, self.n_blocks), "u")
        most = layout.max_blocks(self.n_columns, self.d)
        if self.n_blocks > most:
            raise InvalidTensorError("blocks a row", found=self.n_blocks, expected=f"at most {most}")
        n = self.overlay_count
        self._expect("overlay_rows", self.overlay_rows, (n,), "u")
        self._expect("overlay_columns", self.overlay_columns, (n,), "u")
        self._expect("overlay_values", self.overlay_values, (n,), "f")
        if n >= 2**32:
            raise InvalidTensorError("overlay entries", found=n, expected="below 2^32")
        for name, places, end in (
            ("overlay_rows", self.overlay_rows, c),
            ("overlay_columns", self.overlay_columns, self.n_columns),
        ):
            if n and int(places.max()) >= end:
                raise InvalidTensorError(f"a place in {name}", found=int(places.max()), expected=f"below {end}")
        if self.indices.size and int(self.indices.max()) >= layout.n_index_values(self.d):
            raise InvalidTensorError("an index", found=int(self.indices.max()), expected=f"below 3^{self.d}")

    def _expect(self, name: str, array: npt.NDArray[np.generic], shape: tuple[int, ...], kind: str) -> None:
        # Nothing wider than the file's fields: it would be cut, or rounded, in silence.
        if array.shape != shape or array.dtype.kind != kind or array.dtype.itemsize > 4:
            found = f"{array.dtype} {array.shape}"
            wanted = "float32" if kind == "f" else "unsigned, at most 32 bits,"
            raise InvalidTensorError(f"section {name}", found=found, expected=f"{wanted} {shape}")

    @property
    def n_weights(self) -> int:
        """C x N."""
        return math.prod(self.shape)

    @property
    def n_rows(self) -> int:
        """C: the first dimension."""
        return self.shape[0]

    @property
    def n_columns(self) -> int:
        """N: the product of the other dimensions."""
        return math.prod(self.shape[1:])

    @property
    def n_blocks(self) -> int:
        """B: indices a row."""
        return self.indices.shape[1] if self.indices.ndim == 2 else 0

    @property
    def overlay_count(self) -> int:
        """Number of overlay entries."""
        return self.overlay_rows.shape[0] if self.overlay_rows.ndim == 1 else 0

    @property
    def entry_nbytes(self) -> int:
        """Bytes of an overlay entry in the file: 8, or 12 where places need more than 16 bits."""
        return layout.entry_nbytes(self.n_rows, self.n_blocks, self.d)
