"""Compiled: the blocks of a deflate stream (RFC 1951) that is nearly all literals, as lattice indices are.

Decoding a Huffman code is a chain: where a code ends is known only when it has been looked up. Two things make it
shorter here. A look-up gives two literals where both fit. And a block is decoded at two places at once: from where a
code is known to begin, and from a guess further on. Huffman codes soon fall into step from anywhere, so when the first
chain reaches a place where the second one also saw a code begin, all that the second has decoded since then is right.

Accepts less than zlib does, never more: whoever calls asks zlib about whatever isn't accepted here.
"""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2.compiled import compiled, load_u64
from lzr2.huffman import BITS, LENGTH, MASK, ONE, five, long_code, make_pairs, make_table, refilled

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
Array = npt.NDArray[Any]

SLACK_NBYTES = 64  # that must be there beyond the end of the stream and of the output
STATE_SIZE = 4  # bit position, bytes written, bits of the block before, coded blocks
MORE, DONE, REFUSED = 0, 1, 2

_u32, _u64, _i64 = np.uint32, np.uint64, np.int64
_DISTANCE_BITS = 9
_LITERAL, _MATCH, _END, _NO = 0, 1, 2, 3  # what a symbol is; _NO: nothing that is taken

_ORDER = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15])
_LENGTH_BASE = np.array([*range(3, 11), 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
                         227, 258])  # fmt: skip
_LENGTH_EXTRA = np.array([0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [0])
_DISTANCE_BASE = np.array([1, 2, 3, 4] + [(2 + i % 2 << i // 2) + 1 for i in range(2, 28)])
_DISTANCE_EXTRA = np.array([0, 0] + [i // 2 for i in range(28)])

_N_MARKS = 128  # codes of the second chain that the first may fall into step with
_SPARE = 1 << 15  # bytes from which on the second chain stops
_LONGEST_MATCH = 258
_N_COPIES = 1 << 10  # matches that it may leave to be copied
_LEAST_LEAD = 1 << 13  # bits between the chains; with fewer the second isn't worth its start
_FIRST_LEAD = 1 << 15  # as long as it isn't known how long blocks are
_BLOCKS_ALLOWED, _LEAST_A_BLOCK = 16, 512  # coded blocks at first, and bytes for one more: tables take their time
_TOO_MANY = 48  # one match among so many bytes: zlib is as fast


# Slices are assigned by loops and constants made int64: for the error text of slices that don't fit numba compiles its
# string functions, a fifth of all that a first start compiles, and a function again for each constant it is given.


@compiled
def _copy(out: U8, at: Any, source: U8, first: Any, n_bytes: Any) -> None:
    """Bytes go from one array to another. Positions are uint64, as the number is."""
    for k in range(n_bytes):
        out[at + k] = source[first + k]


@compiled
def _one_symbol(
    bits: Any, n_bits: Any, single: Array, counts: Array, symbols: Array, distances: Array, distance_counts: Array,
    distance_symbols: Array,
) -> Any:  # fmt: skip
    """Whatever symbol comes next, from a buffer of at least 48 bits.

    Returns what it is, the literal or the match's length, the match's distance, and the buffer after it (before it, if
    it is the end or nothing that is taken).
    """
    before, n_before, zero = bits, n_bits, _u64(0)
    entry = single[bits & MASK]
    length, symbol = _u64(entry & LENGTH), _i64(entry >> _u32(8))
    if length == zero:
        found = long_code(bits, counts, symbols)
        if found < 0:
            return _NO, zero, zero, before, n_before
        length, symbol = _u64(found & 31), found >> 5
    bits >>= length
    n_bits -= length
    if symbol < 256:
        return _LITERAL, _u64(symbol), zero, bits, n_bits
    if symbol == 256:
        return _END, zero, zero, before, n_before
    symbol -= 257
    if symbol > 28:
        return _NO, zero, zero, before, n_before
    extra = _u64(_LENGTH_EXTRA[symbol])
    count = _u64(_LENGTH_BASE[symbol]) + (bits & ((_u64(1) << extra) - _u64(1)))
    bits >>= extra
    n_bits -= extra
    entry = distances[bits & _u64((1 << _DISTANCE_BITS) - 1)]
    length, symbol = _u64(entry & LENGTH), _i64(entry >> _u32(8))
    if length == zero:
        found = long_code(bits, distance_counts, distance_symbols)
        if found < 0:
            return _NO, zero, zero, before, n_before
        length, symbol = _u64(found & 31), found >> 5
    bits >>= length
    n_bits -= length
    if symbol > 29:
        return _NO, zero, zero, before, n_before
    extra = _u64(_DISTANCE_EXTRA[symbol])
    distance = _u64(_DISTANCE_BASE[symbol]) + (bits & ((_u64(1) << extra) - _u64(1)))
    return _MATCH, count, distance, bits >> extra, n_bits - extra


@compiled
def _write(out: U8, n: Any, end: Any, what: int, count: Any, distance: Any) -> Any:
    """Appends a literal or a match; returns how many bytes are there now, `n` if it can't be."""
    if what == _LITERAL:
        if n == end:
            return n
        out[n] = np.uint8(count)
        return n + _u64(1)
    if distance > n or n + count > end:
        return n
    for k in range(n, n + count):
        out[k] = out[k - distance]
    return n + count


@compiled
def _code_lengths(source: Any, at: Any, bits: Any, n_bits: Any, n_source: Any, lengths: Array, single: Array,
                  counts: Array, symbols: Array) -> Any:  # fmt: skip
    """Reads a dynamic block's code lengths: how many for literals (0: refused), for distances, and the buffer."""
    n_literals, n_distances = _i64(bits & _u64(31)) + 257, _i64(bits >> _u64(5) & _u64(31)) + 1
    n_code = _i64(bits >> _u64(10) & _u64(15)) + 4
    bits >>= _u64(14)
    n_bits -= _u64(14)
    no = _i64(0)
    if n_literals > 286 or n_distances > 30:
        return no, no, at, bits, n_bits
    for k in range(19):
        lengths[k] = 0
    for k in range(n_code):
        if k == 10:
            at, bits, n_bits = refilled(source, at, bits, n_bits)
        lengths[_ORDER[k]] = _i64(bits & _u64(7))
        bits >>= _u64(3)
        n_bits -= _u64(3)
    if not make_table(lengths, _i64(19), _i64(7), single, counts, symbols):
        return no, no, at, bits, n_bits
    n: Any = _i64(0)
    while n < n_literals + n_distances:
        at, bits, n_bits = refilled(source, at, bits, n_bits)
        entry = single[bits & _u64(127)]
        length, symbol = _u64(entry & LENGTH), _i64(entry >> _u32(8))
        bits >>= length
        n_bits -= length
        if length == _u64(0) or at > n_source + _u64(8):
            return no, no, at, bits, n_bits
        if symbol < 16:
            lengths[n] = symbol
            n += 1
            continue
        extra = _u64(2 if symbol == 16 else (3 if symbol == 17 else 7))
        repeat: Any = _i64(bits & ((_u64(1) << extra) - _u64(1))) + (11 if symbol == 18 else 3)
        bits >>= extra
        n_bits -= extra
        if n + repeat > n_literals + n_distances or (symbol == 16 and n == 0):
            return no, no, at, bits, n_bits
        value = lengths[n - 1] if symbol == 16 else _i64(0)
        for j in range(repeat):
            lengths[n + j] = value
        n += repeat
    return n_literals, n_distances, at, bits, n_bits


@compiled
def inflate_blocks(stream: U8, n_stream: int, out: U8, n_out: int, state: U64, until: int) -> int:
    """Decodes whole blocks until the last or until `until` bytes are written; returns MORE, DONE or REFUSED.

    stream, out: uint8, each with SLACK_NBYTES more than `n_stream` and `n_out`. state: uint64 [STATE_SIZE]; at first
    the bit position of the first block, and zeros. REFUSED: the stream is damaged, too long, or of an unusual kind.
    """
    source, n_source, end = _u64(stream.ctypes.data), _u64(n_stream), _u64(n_out)
    target = _u64(out.ctypes.data)
    n, block_bits = state[1], state[2]
    at = state[0] >> _u64(3)
    bits = load_u64(source + at) >> (state[0] & _u64(7))
    at += _u64(7)
    n_bits = _u64(56) - (state[0] & _u64(7))
    bits &= (_u64(1) << n_bits) - _u64(1)

    single, pairs = np.empty(1 << BITS, np.uint32), np.empty(1 << BITS, np.uint32)
    distances = np.empty(1 << _DISTANCE_BITS, np.uint32)
    lengths, counts, distance_counts = np.zeros(320, np.int64), np.zeros(16, np.int64), np.zeros(16, np.int64)
    symbols, distance_symbols = np.zeros(288, np.int64), np.zeros(32, np.int64)
    spare, marks = np.empty(_SPARE + _LONGEST_MATCH + SLACK_NBYTES, np.uint8), np.empty(_N_MARKS, np.uint64)
    copies = np.empty((_N_COPIES, 3), np.uint64)  # where, how many, from how far back
    spare_target = _u64(spare.ctypes.data)

    last, n_coded = False, state[3]
    while not last and n < _u64(until):
        at, bits, n_bits = refilled(source, at, bits, n_bits)
        start = (at << _u64(3)) - n_bits
        if at > n_source + _u64(8):
            return REFUSED
        last = bits & _u64(1) == _u64(1)
        kind = bits >> _u64(1) & _u64(3)
        bits >>= _u64(3)
        n_bits -= _u64(3)
        if kind == _u64(0):
            at = (start + _u64(3) + _u64(7)) >> _u64(3)
            if at + _u64(4) > n_source:
                return REFUSED
            sizes = load_u64(source + at)
            count = sizes & _u64(0xFFFF)
            at += _u64(4)
            if count ^ (sizes >> _u64(16) & _u64(0xFFFF)) != _u64(0xFFFF) or at + count > n_source or n + count > end:
                return REFUSED
            _copy(out, n, stream, at, count)
            n += count
            at += count
            bits, n_bits = _u64(0), _u64(0)
            continue
        if kind == _u64(1):
            for k in range(288):
                lengths[k] = 8 if k < 144 else (9 if k < 256 else (7 if k < 280 else 8))
            for k in range(288, 320):
                lengths[k] = 5
            n_literals, n_distances = _i64(288), _i64(32)
        elif kind == _u64(2):
            n_literals, n_distances, at, bits, n_bits = _code_lengths(
                source, at, bits, n_bits, n_source, lengths, single, counts, symbols
            )
            if n_literals == 0 or lengths[256] == 0:
                return REFUSED
        else:
            return REFUSED
        n_coded += _u64(1)
        if n_coded > _u64(_BLOCKS_ALLOWED) + n // _u64(_LEAST_A_BLOCK):
            return REFUSED
        own = lengths[n_literals : n_literals + n_distances]
        if not make_table(own, n_distances, _i64(_DISTANCE_BITS), distances, distance_counts, distance_symbols):
            return REFUSED
        if not make_table(lengths, n_literals, _i64(BITS), single, counts, symbols):
            return REFUSED
        make_pairs(single, pairs)

        what, n_matches, n_before = _LITERAL, _u64(0), n
        seam = n_marks = mark = n_spare = n_copies = _u64(0)
        at_2, bits_2, n_bits_2 = at, bits, n_bits
        while what <= _MATCH:
            at, bits, n_bits = refilled(source, at, bits, n_bits)
            if at > n_source + _u64(8):
                return REFUSED
            here = (at << _u64(3)) - n_bits
            if seam and here >= seam:
                while mark < n_marks and marks[mark] < here:
                    mark += _u64(1)
                if mark < n_marks and marks[mark] == here:
                    # In step: what the second chain has is the stream's, and it goes on from there.
                    if n + n_spare - mark > end:
                        return REFUSED
                    _copy(out, n, spare, mark, n_spare - mark)
                    for k in range(n_copies):
                        to = n + copies[k, 0] - mark
                        distance = copies[k, 2]
                        if distance > to:
                            return REFUSED
                        for j in range(to, to + copies[k, 1]):
                            out[j] = out[j - distance]
                    n += n_spare - mark
                    n_matches += n_copies
                    at, bits, n_bits = at_2, bits_2, n_bits_2
                    mark = n_marks
                    at, bits, n_bits = refilled(source, at, bits, n_bits)
                if mark == n_marks:
                    seam = _u64(0)
            if not seam:
                # A second chain starts in the middle of what is left of the block, if this is as long as the last one.
                here = (at << _u64(3)) - n_bits
                lead = _u64(_FIRST_LEAD)
                if block_bits:
                    lead = _u64(0)
                    if here - start < block_bits:
                        lead = (block_bits - (here - start)) >> _u64(1)
                    lead = min(lead, _u64(6 * _SPARE))
                if lead > _u64(_LEAST_LEAD) and (here + 2 * lead) >> _u64(3) < n_source:
                    seam = here + lead
                    at_2 = (seam >> _u64(3)) + _u64(7)
                    n_bits_2 = _u64(56) - (seam & _u64(7))
                    bits_2 = load_u64(source + (seam >> _u64(3))) >> (seam & _u64(7)) & (
                        (_u64(1) << n_bits_2) - _u64(1)
                    )
                    n_marks = mark = n_copies = _u64(0)
                    while n_marks < _u64(_N_MARKS):
                        at_2, bits_2, n_bits_2 = refilled(source, at_2, bits_2, n_bits_2)
                        entry = single[bits_2 & MASK]
                        if not entry & ONE:
                            break
                        marks[n_marks] = (at_2 << _u64(3)) - n_bits_2
                        spare[n_marks] = np.uint8(entry >> _u32(8))
                        bits_2 >>= _u64(entry & LENGTH)
                        n_bits_2 -= _u64(entry & LENGTH)
                        n_marks += _u64(1)
                    n_spare = n_marks
                    what_2 = _LITERAL
                    while (
                        what_2 <= _MATCH
                        and (at << _u64(3)) + _u64(64) < seam
                        and n + _u64(16) < end
                        and n_spare < _u64(_SPARE)
                        and at_2 <= n_source
                    ):
                        at, bits, n_bits = refilled(source, at, bits, n_bits)
                        at_2, bits_2, n_bits_2 = refilled(source, at_2, bits_2, n_bits_2)
                        bits, n_bits, to, length = five(pairs, bits, n_bits, target + n)
                        bits_2, n_bits_2, to_2, length_2 = five(pairs, bits_2, n_bits_2, spare_target + n_spare)
                        n, n_spare = to - target, to_2 - spare_target
                        if length_2 == _u64(0):
                            at_2, bits_2, n_bits_2 = refilled(source, at_2, bits_2, n_bits_2)
                            if n_copies == _u64(_N_COPIES):
                                break
                            what_2, count, distance, bits_2, n_bits_2 = _one_symbol(
                                bits_2, n_bits_2, single, counts, symbols, distances, distance_counts, distance_symbols
                            )
                            if what_2 == _LITERAL:
                                spare[n_spare] = np.uint8(count)
                                n_spare += _u64(1)
                            elif what_2 == _MATCH:
                                copies[n_copies, 0], copies[n_copies, 1], copies[n_copies, 2] = n_spare, count, distance
                                n_copies += _u64(1)
                                n_spare += count
                        if length == _u64(0):
                            at, bits, n_bits = refilled(source, at, bits, n_bits)
                            what, count, distance, bits, n_bits = _one_symbol(
                                bits, n_bits, single, counts, symbols, distances, distance_counts, distance_symbols
                            )
                            if what > _MATCH:
                                break
                            written = _write(out, n, end, what, count, distance)
                            if written == n:
                                return REFUSED
                            n = written
                            n_matches += _u64(what)
                    continue
            if n + _u64(16) < end and (not seam or here + _u64(64) < seam):
                bits, n_bits, to, length = five(pairs, bits, n_bits, target + n)
                n = to - target
                if length:
                    continue
                at, bits, n_bits = refilled(source, at, bits, n_bits)
            what, count, distance, bits, n_bits = _one_symbol(
                bits, n_bits, single, counts, symbols, distances, distance_counts, distance_symbols
            )
            if what <= _MATCH:
                written = _write(out, n, end, what, count, distance)
                if written == n:
                    return REFUSED
                n = written
                n_matches += _u64(what)
        if what == _NO or n_matches * _u64(_TOO_MANY) > n - n_before:
            return REFUSED
        # _one_symbol stops before the end's code.
        length = _u64(single[bits & MASK] & LENGTH)
        if length == _u64(0):
            length = _u64(long_code(bits, counts, symbols) & 31)
        bits >>= length
        n_bits -= length
        block_bits = (at << _u64(3)) - n_bits - start
    state[0], state[1], state[2], state[3] = (at << _u64(3)) - n_bits, n, block_bits, n_coded
    return DONE if last else MORE
