"""Compiled: canonical Huffman codes as look-up tables, and the bit buffer that is decoded with them (RFC 1951)."""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2.compiled import compiled, inlined, load_u64, store_u16

Array = npt.NDArray[Any]

_u32, _u64, _i64 = np.uint32, np.uint64, np.int64
BITS = 11  # five look-ups of at most so many bits fit into what one refill guarantees
MASK = _u64((1 << BITS) - 1)
_LONGEST = 15
_TURNED = np.array([int(f"{byte:08b}"[::-1], 2) for byte in range(256)])

# A table's entry: bits 0 to 5 the code's length (0: not in the table), 6 and 7 how many literals, then the symbols.
LENGTH, ONE, _TWO = _u32(63), _u32(64), _u32(128)


@compiled
def make_table(lengths: Array, n: Any, bits: Any, table: Array, counts: Array, symbols: Array) -> bool:
    """A canonical code as a look-up table; False unless it is complete (or empty). `long_code` finds longer codes."""
    for k in range(len(counts)):  # by loops, as in `inflate_blocks`
        counts[k] = 0
    for s in range(n):
        counts[lengths[s]] += 1
    counts[0] = 0
    left, n_codes = 1, 0
    first = np.zeros(_LONGEST + 2, np.int64)  # among the symbols, sorted by length
    code = np.zeros(_LONGEST + 2, np.int64)
    for length in range(1, _LONGEST + 1):
        left = 2 * left - counts[length]
        if left < 0:
            return False
        n_codes += counts[length]
        first[length + 1] = first[length] + counts[length]
        code[length + 1] = (code[length] + counts[length]) << 1
    for k in range(1 << bits):
        table[k] = 0
    for s in range(n):
        length = lengths[s]
        if length:
            symbols[first[length]] = s
            first[length] += 1
            if length <= bits:
                # Codes are packed with their first bit lowest.
                turned = (_TURNED[code[length] & 255] << 8 | _TURNED[code[length] >> 8]) >> (16 - length)
                entry = _u32(length) | _u32(s) << _u32(8) | (ONE if s < 256 else _u32(0))
                for at in range(turned, 1 << bits, 1 << length):
                    table[at] = entry
            code[length] += 1
    return left == 0 or n_codes == 0


@compiled
def make_pairs(single: Array, pairs: Array) -> None:
    """Two literals an entry where both codes fit, else one; 0 where the next symbol is anything but a short literal."""
    for at in range(1 << BITS):
        one = single[at]
        pairs[at] = 0
        if one & ONE:
            length = one & LENGTH
            two = single[_u32(at) >> length]
            both = length + (two & LENGTH)
            if two & ONE and both <= _u32(BITS):
                pairs[at] = both | _TWO | one & _u32(0xFF00) | (two & _u32(0xFF00)) << _u32(8)
            else:
                pairs[at] = one


@compiled
def long_code(bits: Any, counts: Array, symbols: Array) -> Any:
    """Symbol << 5 | length of the code that the bits begin with, bit by bit; -1 if there is none."""
    code, first, index = _i64(0), _i64(0), _i64(0)
    for length in range(1, _LONGEST + 1):
        code |= _i64(bits & _u64(1))
        bits >>= _u64(1)
        n = counts[length]
        if code - first < n:
            return _i64(symbols[index + code - first]) << 5 | length
        index += n
        first = (first + n) << 1
        code <<= 1
    return _i64(-1)


@inlined
def refilled(source: Any, at: Any, bits: Any, n_bits: Any) -> Any:
    """The bit buffer with at least 56 bits: next byte to read, bits, how many."""
    bits |= load_u64(source + at) << n_bits
    at += (_u64(63) - n_bits) >> _u64(3)
    return at, bits, n_bits | _u64(56)


@inlined
def five(pairs: Array, bits: Any, n_bits: Any, to: Any) -> Any:
    """Five look-ups; from the first that finds no literal on they change nothing: then the last length is 0."""
    entry = _u64(pairs[bits & MASK])
    store_u16(to, entry >> _u64(8))
    to += entry >> _u64(6) & _u64(3)
    length = entry & _u64(63)
    bits >>= length
    n_bits -= length
    entry = _u64(pairs[bits & MASK])
    store_u16(to, entry >> _u64(8))
    to += entry >> _u64(6) & _u64(3)
    length = entry & _u64(63)
    bits >>= length
    n_bits -= length
    entry = _u64(pairs[bits & MASK])
    store_u16(to, entry >> _u64(8))
    to += entry >> _u64(6) & _u64(3)
    length = entry & _u64(63)
    bits >>= length
    n_bits -= length
    entry = _u64(pairs[bits & MASK])
    store_u16(to, entry >> _u64(8))
    to += entry >> _u64(6) & _u64(3)
    length = entry & _u64(63)
    bits >>= length
    n_bits -= length
    entry = _u64(pairs[bits & MASK])
    store_u16(to, entry >> _u64(8))
    to += entry >> _u64(6) & _u64(3)
    length = entry & _u64(63)
    return bits >> length, n_bits - length, to, length
