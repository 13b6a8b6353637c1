"""Copies between types, bit for bit as `torch.Tensor.to` makes them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamer.sources.cast import DenseTensor, copy_cast, copy_transposed
from tests.streamer.sources.bits import raw_as_cast

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def every_kind_of_value(count: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Random bits: NaNs with payloads, infinities and subnormals are among them."""
    generator = torch.Generator().manual_seed(seed)
    random = torch.randint(0, 256, (count * dtype.itemsize,), dtype=torch.uint8, generator=generator)
    values = random.view(dtype)
    info = torch.finfo(dtype)
    special = [0.0, -0.0, torch.inf, -torch.inf, torch.nan, info.max, info.min, info.tiny, info.tiny / 2, 65519, 65520]
    values[: len(special)] = torch.tensor(special, dtype=torch.float64).to(dtype)[:count]
    return values


@pytest.mark.parametrize("count", [0, 1, 7, 32_703, 32_704, 32_705, 32_768, 70_001])
@pytest.mark.parametrize("stored", FLOATS)
@pytest.mark.parametrize("wanted", FLOATS)
def test_the_same_bits_as_torch(stored, wanted, count):
    values = every_kind_of_value(count, stored, seed=count)
    out = torch.empty(count, dtype=wanted)
    copy_cast(out, values)
    assert raw_as_cast(out) == raw_as_cast(values.to(wanted))


@given(st.lists(st.floats(width=64), max_size=40), st.sampled_from(FLOATS), st.sampled_from(FLOATS))
def test_the_same_bits_as_torch_for_any_numbers(numbers, stored, wanted):
    values = torch.tensor(numbers, dtype=torch.float64).to(stored)
    out = torch.empty(len(numbers), dtype=wanted)
    copy_cast(out, values)
    assert raw_as_cast(out) == raw_as_cast(values.to(wanted))


@pytest.mark.parametrize("shape", [(), (2, 3, 4), (0, 5)])
def test_shapes_may_differ_if_the_number_of_elements_does_not(shape):
    out = torch.full(shape, -1.0)
    copy_cast(out, torch.arange(out.numel(), dtype=torch.float16))
    assert out.flatten().tolist() == list(range(out.numel()))


def test_a_slot_that_is_part_of_a_slab_is_written_and_nothing_beside_it():
    slab = torch.zeros(10, dtype=torch.uint8)
    copy_cast(slab[2:6].view(torch.float16), torch.tensor([1.0, 2.0]))
    assert slab[2:6].view(torch.float16).tolist() == [1.0, 2.0]
    assert not slab[:2].any()
    assert not slab[6:].any()


def test_a_dense_tensor_keeps_its_own_type_and_gives_any():
    held = DenseTensor(torch.tensor([1.0, 2.5], dtype=torch.float16))
    out = torch.empty(2, dtype=torch.float32)
    held.write_into(out)
    assert out.tolist() == [1.0, 2.5]
    assert held.nbytes == 4


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (300, 211), (40_000, 2), (2, 40_000)])
@pytest.mark.parametrize("wanted", [torch.float16, torch.bfloat16, torch.float32])
def test_a_matrix_is_transposed_as_torch_does(shape, wanted):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)).half()
    out = torch.full(shape[::-1], torch.nan, dtype=wanted)
    copy_transposed(out, values)
    assert out.equal(values.t().to(wanted))
