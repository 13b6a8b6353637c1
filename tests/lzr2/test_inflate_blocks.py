"""The own decoder gives what zlib gives, and accepts nothing that zlib doesn't."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lzr2 import deflate
from lzr2.inflate import SLACK_NBYTES, inflate_exactly

GUARD = 0xA5


def inflated(stream: bytes, nbytes: int) -> bytes | None:
    """What the own decoder makes of the stream, or None; nothing beyond the slack may be touched."""
    source = np.zeros(len(stream) + SLACK_NBYTES, np.uint8)
    source[: len(stream)] = np.frombuffer(stream, np.uint8)
    room = np.full(nbytes + SLACK_NBYTES + 1000, GUARD, np.uint8)
    told: list[int] = []
    whole = inflate_exactly(source, len(stream), room[: nbytes + SLACK_NBYTES], nbytes, told.append)
    assert (room[nbytes + SLACK_NBYTES :] == GUARD).all()
    assert told == sorted(told)
    return room[:nbytes].tobytes() if whole else None


def by_zlib(stream: bytes) -> bytes | None:
    try:
        machine = zlib.decompressobj()
        content = machine.decompress(stream)
    except zlib.error:
        return None
    return content if machine.eof and not machine.unused_data else None


def compressed(content: bytes, level: int, strategy: int = zlib.Z_DEFAULT_STRATEGY, memory: int = 8) -> bytes:
    machine = zlib.compressobj(level, zlib.DEFLATED, 15, memory, strategy)
    return machine.compress(content) + machine.flush()


def indices(n: int, kind: str, seed: int = 0) -> bytes:
    random = np.random.default_rng(seed)
    if kind == "uniform":
        return random.integers(0, 3**8, n).astype(np.uint16).tobytes()
    digits = random.choice(3, (n, 8), p=[0.2, 0.6, 0.2])
    return (digits @ 3 ** np.arange(7, -1, -1)).astype(np.uint16).tobytes()


@pytest.mark.parametrize("kind", ["uniform", "peaked"])
@pytest.mark.parametrize("n", [10, 5_000, 16_383, 40_000, 300_000])
@pytest.mark.parametrize(
    "compress",
    [
        pytest.param(lambda content: deflate.compress(memoryview(content)), id="as the writer does"),
        pytest.param(lambda content: compressed(content, 6, zlib.Z_HUFFMAN_ONLY), id="Huffman only"),
        pytest.param(lambda content: compressed(content, 1, zlib.Z_RLE, 1), id="tiny blocks"),
        pytest.param(lambda content: compressed(content, 0), id="stored"),
    ],
)
def test_indices_come_out_as_they_went_in(kind: str, n: int, compress: Callable[[bytes], bytes]) -> None:
    content = indices(n, kind)
    assert inflated(compress(content), len(content)) == content


@pytest.mark.parametrize("n", [10, 100, 70_000])
def test_fixed_codes(n: int) -> None:
    content = np.random.default_rng(n).integers(0, 256, n).astype(np.uint8).tobytes()
    assert inflated(compressed(content, 6, zlib.Z_FIXED), n) == content


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize("kind", ["uniform", "peaked"])
def test_with_matches_it_is_right_or_leaves_it(kind: str, level: int) -> None:
    content = indices(150_000, kind)
    assert inflated(compressed(content, level), len(content)) in (content, None)
    if kind == "uniform" and level > 1:
        assert inflated(compressed(content, level), len(content)) == content


@pytest.mark.parametrize("gap", [40, 300, 3_000, 20_000])
def test_matches_across_the_second_chains_start(gap: int) -> None:
    """Noise with repeats from far back: what the second chain copies lies before it began."""
    random = np.random.default_rng(gap)
    content = bytearray(random.integers(0, 200, 600_000).astype(np.uint8).tobytes())
    for at in range(40_000, len(content) - 300, gap + 900):
        back = int(random.integers(1, 32_000))
        length = int(random.integers(3, 200))
        for k in range(length):
            content[at + k] = content[at + k - back]
    for level in (6, 9):
        stream = compressed(bytes(content), level)
        assert inflated(stream, len(content)) in (bytes(content), None)
        if gap >= 300:
            assert inflated(stream, len(content)) == bytes(content)


@pytest.mark.parametrize("gap", [150, 200, 250])
def test_a_long_match_where_the_second_chains_room_ends(gap: int) -> None:
    content = np.random.default_rng(gap).integers(0, 200, 2_000_000).astype(np.uint8)
    for at in range(1000, content.size - 300, 250 + gap):
        content[at : at + 250] = content[at - 600 : at - 350]
    stream = compressed(content.tobytes(), 9, zlib.Z_DEFAULT_STRATEGY, 9)
    assert inflated(stream, content.size) == content.tobytes()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.integers(1, 400)), max_size=30),
    st.integers(0, 9),
    st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED, zlib.Z_FILTERED]),
    st.integers(1, 9),
    st.integers(-2, 2),
)
def test_any_content(parts: list[tuple[bytes, int]], level: int, strategy: int, memory: int, wrong: int) -> None:
    content = b"".join(piece * count for piece, count in parts)
    stream = compressed(content, level, strategy, memory)
    found = inflated(stream, max(0, len(content) + wrong))
    assert found in ((content, None) if wrong == 0 or not content else (None,))


def test_every_cut_and_every_byte_more_is_refused() -> None:
    content = indices(600, "peaked")
    stream = deflate.compress(memoryview(content))
    for n in range(len(stream)):
        assert inflated(stream[:n], len(content)) is None
    assert inflated(stream + b"\0", len(content)) is None
    assert inflated(stream, len(content)) == content


@pytest.mark.parametrize("strategy", [zlib.Z_HUFFMAN_ONLY, zlib.Z_FIXED, zlib.Z_DEFAULT_STRATEGY])
def test_every_flipped_bit_is_refused_or_means_the_same_to_zlib(strategy: int) -> None:
    content = indices(400, "peaked") + bytes(range(256))
    stream = compressed(content, 6, strategy)
    for bit in range(8 * len(stream)):
        changed = bytearray(stream)
        changed[bit // 8] ^= 1 << bit % 8
        assert inflated(bytes(changed), len(content)) in (None, by_zlib(bytes(changed)))


def test_noise_after_a_header_is_refused_unless_zlib_takes_it() -> None:
    random = np.random.default_rng(0)
    for _ in range(20_000):
        body = random.integers(0, 256, int(random.integers(1, 60))).astype(np.uint8).tobytes()
        found = inflated(b"\x78\x9c" + body, 40)
        assert found is None or found == by_zlib(b"\x78\x9c" + body)


def test_damage_within_a_long_stream_is_refused() -> None:
    content = indices(200_000, "uniform")
    stream = bytearray(deflate.compress(memoryview(content)))
    random = np.random.default_rng(1)
    for at in random.integers(2, len(stream), 60):
        before = stream[at]
        stream[at] ^= int(random.integers(1, 256))
        assert inflated(bytes(stream), len(content)) is None
        stream[at] = before
    assert inflated(bytes(stream), len(content)) == content


@pytest.mark.parametrize(
    "stream",
    [
        zlib.compress(b"x" * 1000, wbits=31),
        zlib.compress(b"x" * 1000, wbits=-15),
        zlib.compress(b"x" * 1000, wbits=9),
        b"",
        b"\x78",
        b"\x78\x9c",
        b"\x78\xbb" + bytes(20),  # asks for a dictionary
        b"\x78\x9c\x07" + bytes(20),  # a block of the fourth kind
    ],
)
def test_what_is_no_plain_zlib_stream_is_left_alone(stream: bytes) -> None:
    assert inflated(stream, 1000) is None
