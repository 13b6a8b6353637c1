"""Look-up tables of canonical codes, against codes assigned as RFC 1951, section 3.2.2, says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lzr2 import huffman


def codes(lengths: list[int]) -> dict[int, str]:
    """Each symbol's code as the bits come in the stream."""
    found, code = {}, 0
    for length in range(1, 16):
        for symbol, own in enumerate(lengths):
            if own == length:
                found[symbol] = f"{code:0{length}b}"
                code += 1
        code <<= 1
    return found


def table(lengths: list[int], bits: int) -> tuple[bool, np.ndarray, np.ndarray, np.ndarray]:
    entries, counts, symbols = np.zeros(1 << bits, np.uint32), np.zeros(16, np.int64), np.zeros(288, np.int64)
    complete = huffman.make_table(np.array(lengths, np.int64), len(lengths), bits, entries, counts, symbols)
    return complete, entries, counts, symbols


@st.composite
def complete_codes(draw: st.DrawFn) -> list[int]:
    """Lengths of a complete code of 2 to 286 symbols, none longer than 15."""
    lengths = [1, 1]
    for _ in range(draw(st.integers(0, 200))):
        at = draw(st.integers(0, len(lengths) - 1))
        if lengths[at] < 15 and len(lengths) < 286:
            lengths[at] += 1
            lengths.append(lengths[at])
    unused = draw(st.integers(0, 286 - len(lengths)))
    return draw(st.permutations(lengths + [0] * unused))


def looked_up(bits: str, table_bits: int, entries: np.ndarray, counts: np.ndarray, symbols: np.ndarray) -> int:
    number = int(bits[::-1].ljust(1), 2)
    entry = int(entries[number & ((1 << table_bits) - 1)])
    if entry & 63:
        assert entry & 63 == len(bits)
        assert entry >> 6 & 3 == (1 if entry >> 8 < 256 else 0)
        return entry >> 8
    found = int(huffman.long_code(np.uint64(number), counts, symbols))
    assert found & 31 == len(bits) > table_bits
    return found >> 5


@settings(deadline=None)
@given(complete_codes(), st.sampled_from([7, 9, 11]))
def test_every_code_is_found(lengths: list[int], bits: int) -> None:
    complete, *tables = table(lengths, bits)
    assert complete
    for symbol, code in codes(lengths).items():
        assert looked_up(code, bits, *tables) == symbol


@pytest.mark.parametrize("lengths", [[1], [2, 2, 2], [1, 2], [15], [1, 1, 1], [1, 2, 2, 15]])
def test_a_code_that_is_incomplete_or_has_too_many_is_refused(lengths: list[int]) -> None:
    assert not table(lengths, 11)[0]


def test_no_code_at_all_is_complete_and_finds_nothing() -> None:
    complete, entries, counts, symbols = table([0, 0], 9)
    assert complete
    assert not entries.any()
    assert huffman.long_code(np.uint64(0), counts, symbols) == -1


@settings(deadline=None)
@given(complete_codes())
def test_pairs_are_two_literals_where_both_fit(lengths: list[int]) -> None:
    _, single, _, _ = table(lengths, huffman.BITS)
    pairs = np.zeros(1 << huffman.BITS, np.uint32)
    huffman.make_pairs(single, pairs)
    by_bits = {code: symbol for symbol, code in codes(lengths).items() if symbol < 256}
    for at in range(0, 1 << huffman.BITS, 37):
        bits = f"{at:0{huffman.BITS}b}"[::-1]
        found, rest = [], bits
        while len(found) < 2:
            match = next((code for code in by_bits if rest.startswith(code)), None)
            if match is None:
                break
            found.append(by_bits[match])
            rest = rest[len(match) :]
        entry = int(pairs[at])
        assert entry >> 6 & 3 == len(found)
        assert entry & 63 == len(bits) - len(rest)
        assert [entry >> 8 & 255, entry >> 16 & 255][: len(found)] == found
