"""Every constant, size rule and limit of the LZR2 format (SPEC.md, sections 1 and 4)."""

from __future__ import annotations

import math
import struct

MAGIC = b"LZR2"
U32 = struct.Struct("<I")
HAS_PAYLOAD = 1  # the one flag value that announces a payload

# Limits a reader holds to.
MAX_KEY_NBYTES = 4096
MAX_NDIM = 8
MAX_WEIGHTS = 2**33
MAX_D = 32
MAX_RECORDS = 8192  # five times as many as SDXL has tensors

# What is allocated for a file's sake: at most the first, or so many times the size of the file.
ALWAYS_ALLOWED_NBYTES = 16 << 20
MAX_AMPLIFICATION = 24

# Overlay entries: row, column, value.
NARROW_ENTRY_NBYTES = 8
WIDE_ENTRY_NBYTES = 12
WIDE_FROM = 65_536

MAX_HEADER_NBYTES = 4 + MAX_KEY_NBYTES + 4 + 4 * MAX_NDIM + 1


def rows_and_columns(shape: tuple[int, ...]) -> tuple[int, int]:
    """C and N: the first dimension, and the product of the others (1 if there are none)."""
    return shape[0], math.prod(shape[1:])


def blocks_needed(n_columns: int, d: int) -> int:
    """B that reaches every column: ceil(N / d)."""
    return -(-n_columns // d)


def max_blocks(n_columns: int, d: int) -> int:
    """The largest B that a reader accepts: twice what is needed, plus 64 (SPEC.md, section 4)."""
    return 2 * blocks_needed(n_columns, d) + 64


def entry_nbytes(n_rows: int, n_blocks: int, d: int) -> int:
    """Bytes of one overlay entry."""
    return NARROW_ENTRY_NBYTES if max(n_rows, n_blocks) * d < WIDE_FROM else WIDE_ENTRY_NBYTES


def possible_entry_nbytes(n_rows: int, n_columns: int, d: int) -> tuple[int, ...]:
    """Entry sizes that some acceptable B gives, that of a sane writer first."""
    sane = entry_nbytes(n_rows, blocks_needed(n_columns, d), d)
    least, most = entry_nbytes(n_rows, 0, d), entry_nbytes(n_rows, max_blocks(n_columns, d), d)
    return (sane,) if least == most else (sane, NARROW_ENTRY_NBYTES + WIDE_ENTRY_NBYTES - sane)


def max_allocation_nbytes(file_nbytes: int) -> int:
    """The most memory that a reader takes by itself for one thing in a file of this size (SPEC.md, section 4)."""
    return max(ALWAYS_ALLOWED_NBYTES, MAX_AMPLIFICATION * file_nbytes)


def tables_nbytes(n_rows: int, d: int) -> int:
    """Bytes of the aux, offset and scale sections together."""
    return 4 * n_rows * (d + 2)


def n_index_values(d: int) -> int:
    """How many of the 65,536 u16 values are legal indices: 3^d, or all of them from d = 11 on."""
    return min(int(3**d), 65_536)
