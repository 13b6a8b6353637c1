"""Expanding by torch operations, against the format's own decoder: every bit, in scratch memory of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import lzr2
from streamer.plan.packed import LEAST_SCRATCH_NBYTES, InflatedSizes
from streamer.sources.inflated import InflatedSections
from streamer.sources.lzr2 import InflatedHeld
from streamer.tiers.expand import Expander
from tests.lzr2 import reference
from tests.streamer.sources.bits import raw

EXPANDER = Expander(torch.device("cpu"))
VALUES = [0.0, -0.0, 1.5, -7.25, 6e-8, -3e-6, 65504.0, 65520.0, -1e30, float("inf"), float("-inf")]


def sections_of(inflated: lzr2.InflatedTensor) -> InflatedSections:
    blocks = min(inflated.indices.shape[1], -(-inflated.n_columns // inflated.d))
    most = InflatedSizes(inflated.n_rows, inflated.n_columns, inflated.d, blocks, len(inflated.overlay_values))
    memory = torch.full((most.nbytes,), 0xEE, dtype=torch.uint8)
    return InflatedSections.within(memory, InflatedHeld(inflated).write_inflated_into(memory))


def expanded(inflated: lzr2.InflatedTensor, dtype: torch.dtype, scratch_nbytes: int) -> torch.Tensor:
    out = torch.full(inflated.shape, 77, dtype=dtype)
    EXPANDER.expand(sections_of(inflated), out, torch.full((scratch_nbytes,), 0xDD, dtype=torch.uint8))
    return out


def decoded(inflated: lzr2.InflatedTensor, dtype: torch.dtype) -> torch.Tensor:
    out = torch.full(inflated.shape, 55, dtype=dtype if dtype != torch.bfloat16 else torch.float16)
    lzr2.decode_inflated_into(inflated, out.view(-1).numpy())
    return out.to(dtype)


def assert_same(inflated: lzr2.InflatedTensor, scratch_nbytes: int, *, nan: bool = False) -> None:
    """float16 to the last bit of every NaN; wider types, into which NaN may be converted otherwise, but for those."""
    for dtype in (torch.float16, torch.float32, torch.bfloat16):
        found, want = expanded(inflated, dtype, scratch_nbytes), decoded(inflated, dtype)
        if nan and dtype != torch.float16:
            assert torch.equal(found.isnan(), want.isnan())
            found, want = (t.nan_to_num(1.0, float("inf"), float("-inf")) for t in (found, want))
        assert raw(found) == raw(want), dtype


def held(data: bytes) -> lzr2.InflatedTensor:
    with lzr2.open(data) as file:
        return file.read_inflated(next(iter(file)))


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """A record of any d, with too few or too many indices, and entries anywhere, some several times."""
    rows, columns, d = draw(st.integers(1, 9)), draw(st.integers(1, 120)), draw(st.integers(1, 32))
    needed = -(-columns // d)
    blocks = draw(st.sampled_from([needed, needed, max(0, needed - 2), 0, needed + 3]))
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    indices = random.integers(0, min(3**d, 1 << 16), (rows, blocks)).astype(np.uint16)
    edges = np.array([*VALUES, 0.3, 1e-3, 65519.9], np.float32)
    offset, scale = random.choice(edges, rows), random.choice(edges, rows)
    count = draw(st.integers(0, 30))
    places = zip(random.integers(0, rows + 1, count), random.integers(0, columns + 3, count), strict=True)
    overlay = [(int(r), int(c), float(random.choice(edges))) for r, c in places]
    return reference.lzr2(reference.record("a", (rows, columns), d, offset, scale, indices, overlay))


@settings(deadline=None)  # the first compiles the decoder
@given(records(), st.integers(LEAST_SCRATCH_NBYTES, 40_000))
def test_any_record_has_the_bits_that_the_decoder_gives(data, scratch_nbytes):
    # Offsets and scales may be infinite, and infinity times zero is NaN.
    assert_same(held(data), scratch_nbytes, nan=True)


@pytest.mark.parametrize("scratch_nbytes", [LEAST_SCRATCH_NBYTES, 5000, 1 << 20])
@pytest.mark.parametrize("name", reference.golden_names())
def test_golden_files(name, scratch_nbytes):
    with lzr2.open((reference.GOLDEN / f"{name}.lzr2").read_bytes()) as file:
        for key in file:
            inflated = file.read_inflated(key)
            if inflated.n_rows * inflated.n_columns * (1 << 20) <= 10_000_000 * scratch_nbytes:  # else it takes long
                assert_same(inflated, scratch_nbytes, nan=True)


@pytest.mark.parametrize("d", range(1, 33))
def test_finite_weights_are_equal_in_every_type(d):
    random = np.random.default_rng(d)
    indices = random.integers(0, min(3**d, 1 << 16), (5, -(-70 // d))).astype(np.uint16)
    offset, scale = random.normal(0, 0.1, 5).astype(np.float32), random.normal(0, 0.1, 5).astype(np.float32)
    overlay = [(i % 5, (7 * i) % 70, value) for i, value in enumerate(VALUES * 3)]
    assert_same(held(reference.lzr2(reference.record("a", (5, 70), d, offset, scale, indices, overlay))), 2000)


class Watched(TorchDispatchMode):
    """Notes every new memory and every value that is read back."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()
        self.wrong: list[str] = []
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.count += not func.is_view
        if not isinstance(result, torch.Tensor):
            self.wrong.append(f"{func} reads a value")
        elif result.untyped_storage().data_ptr() not in self.known:
            self.wrong.append(f"{func} allocates")
        return result


def lattice(rows: int, columns: int) -> lzr2.InflatedTensor:
    data = reference.simple_record("a", rows, columns)
    return held(reference.lzr2(data))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_nothing_is_allocated_and_nothing_read_back(dtype):
    inflated = lattice(30, 500)
    sections, out = sections_of(inflated), torch.zeros(30, 500, dtype=dtype)
    scratch = torch.zeros(4096, dtype=torch.uint8)
    watched = Watched()
    for tensor in (sections.indices, out, scratch, EXPANDER._digits):
        watched.known.add(tensor.untyped_storage().data_ptr())
    with watched:
        EXPANDER.expand(sections, out, scratch)
    assert watched.wrong == []
    assert raw(out) == raw(decoded(inflated, dtype))


def test_more_scratch_memory_needs_fewer_operations():
    sections, counts = sections_of(lattice(64, 800)), []
    for nbytes in (LEAST_SCRATCH_NBYTES, 16_384, 1 << 20):
        with Watched() as watched:
            EXPANDER.expand(sections, torch.zeros(64, 800), torch.zeros(nbytes, dtype=torch.uint8))
        counts.append(watched.count)
    assert counts[0] > counts[1] > counts[2]
    assert counts[2] < 30


def test_no_byte_beside_the_scratch_memory_is_written():
    sections = sections_of(lattice(9, 100))
    memory = torch.full((8 * LEAST_SCRATCH_NBYTES,), 0xAB, dtype=torch.uint8)
    EXPANDER.expand(sections, torch.zeros(9, 100), memory[1024 : 1024 + LEAST_SCRATCH_NBYTES])
    assert set(memory[:1024].tolist()) == set(memory[1024 + LEAST_SCRATCH_NBYTES :].tolist()) == {0xAB}


def test_too_little_scratch_memory_is_an_error():
    with pytest.raises(ValueError, match="at least"):
        EXPANDER.expand(sections_of(lattice(2, 8)), torch.zeros(2, 8), torch.zeros(1023, dtype=torch.uint8))


def test_whatever_the_default_device_is_it_works_where_it_was_made_for():
    random = np.random.default_rng(0)
    indices = random.integers(0, 81, (5, 18)).astype(np.uint16)
    offset, scale = random.normal(0, 0.1, 5).astype(np.float32), random.normal(0, 0.1, 5).astype(np.float32)
    inflated = held(reference.lzr2(reference.record("a", (5, 70), 4, offset, scale, indices, [])))
    sections, out = sections_of(inflated), torch.empty(5, 70)
    scratch = torch.empty(2000, dtype=torch.uint8)
    with torch.device("meta"):
        Expander(torch.device("cpu")).expand(sections, out, scratch)
    assert torch.equal(out, decoded(inflated, torch.float32))
