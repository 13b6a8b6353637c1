"""On a CUDA device: the same latents as with everything loaded, within the budget. Run with  pytest -m gpu."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

import lzr2
from streamer.bench.link_speed import measured_link
from streamer.config import UNLIMITED, StreamSettings
from streamer.models.demo import demo_directory
from streamer.models.open import PipelineOptions, open_pipeline
from streamer.models.pipeline import Request
from streamer.models.unet import empty_unet, stream_unet
from streamer.plan.packed import InflatedSizes
from streamer.runtime.attach import attach
from streamer.sources.inflated import InflatedSections
from streamer.sources.lzr2 import InflatedHeld, Lzr2Source
from streamer.tiers.device_memory import KERNELS_NBYTES, context_nbytes
from streamer.tiers.expand import Expander
from tests.lzr2 import reference
from tests.picture import nearest_concept
from tests.streamer.runtime.files import open_tower, tower_in_file
from tests.streamer.tower import LAYER_NBYTES, WIDTH

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")


def inputs() -> dict:
    random = torch.Generator().manual_seed(0)

    def half(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random).to(CUDA, torch.float16)

    return {
        "sample": half(2, 4, 16, 16),
        "timestep": 500,
        "encoder_hidden_states": half(2, 77, 192),
        "added_cond_kwargs": {"text_embeds": half(2, 128), "time_ids": half(2, 6)},
    }


def requested() -> int:
    """Bytes of all tensors as they were asked for: the allocator gives a large one up to a megabyte more."""
    return torch.cuda.memory_stats()["requested_bytes.all.current"]


def test_the_link_gives_what_a_link_can():
    before = torch.cuda.memory_reserved()
    assert 1e9 < measured_link(torch.device("cuda:0")) < 1e12
    assert torch.cuda.memory_reserved() <= before


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("budget", [3_300_000, 5_000_000, UNLIMITED])
def test_bit_identical_to_the_resident_unet_within_the_budget(demo_lzr2, budget, workers):
    resident = (
        UNet2DConditionModel.from_pretrained(demo_directory() / "unet", torch_dtype=torch.float16).to(CUDA).eval()
    )
    with torch.no_grad():
        want = resident(**inputs()).sample.cpu()
    del resident
    torch.cuda.empty_cache()
    before = requested()
    unet = empty_unet(json.loads((demo_directory() / "unet" / "config.json").read_text()))
    settings = StreamSettings(budget, 0, workers)
    with torch.no_grad(), stream_unet(unet, Lzr2Source(demo_lzr2), settings, CUDA, torch.float16) as handle:
        held = requested() - before
        assert held <= min(budget, handle.plan.total_nbytes) + 4096  # placeholders take a few bytes
        for _ in range(5):
            assert torch.equal(unet(**inputs()).sample.cpu(), want)
        assert handle.device_nbytes <= budget


def test_the_most_that_is_ever_allocated_is_the_budget_and_the_activations(demo_lzr2):
    config = json.loads((demo_directory() / "unet" / "config.json").read_text())
    peaks = []
    for budget in (UNLIMITED, UNLIMITED, 5_000_000):  # the first also takes what libraries keep for themselves
        torch.cuda.empty_cache()
        before = requested()
        torch.cuda.reset_peak_memory_stats()
        unet = empty_unet(config)
        settings = StreamSettings(budget, 0, 2)
        with torch.no_grad(), stream_unet(unet, Lzr2Source(demo_lzr2), settings, CUDA, torch.float16) as handle:
            for _ in range(3):
                unet(**inputs())
            most = torch.cuda.memory_stats()["requested_bytes.all.peak"]
            peaks.append(most - before - handle.device_nbytes)
    # What is left are the activations, which don't depend on the budget.
    assert abs(peaks[1] - peaks[2]) < 1_000_000


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", reference.golden_names())
def test_expanding_on_the_device_gives_the_decoders_bits_and_allocates_nothing(name, dtype):
    expander = Expander(CUDA)
    scratch = torch.empty(1 << 20, dtype=torch.uint8, device=CUDA)
    with lzr2.open((reference.GOLDEN / f"{name}.lzr2").read_bytes()) as file:
        for key in file:
            inflated = file.read_inflated(key)
            blocks = min(inflated.indices.shape[1], -(-inflated.n_columns // inflated.d))
            most = InflatedSizes(inflated.n_rows, inflated.n_columns, inflated.d, blocks, len(inflated.overlay_values))
            memory = torch.empty(most.nbytes, dtype=torch.uint8)
            sizes = InflatedHeld(inflated).write_inflated_into(memory)
            there = memory.to(CUDA)
            out = torch.zeros(inflated.shape, dtype=dtype, device=CUDA)
            torch.cuda.synchronize()
            before = torch.cuda.memory_stats()["allocation.all.allocated"]
            expander.expand(InflatedSections.within(there, sizes), out, scratch)
            torch.cuda.synchronize()
            assert torch.cuda.memory_stats()["allocation.all.allocated"] == before
            want = torch.empty(inflated.shape, dtype=torch.float16)
            lzr2.decode_inflated_into(inflated, want.view(-1).numpy())
            if dtype == torch.float16:
                assert torch.equal(out.view(torch.int16).cpu(), want.view(torch.int16))
            else:
                assert torch.equal(out.cpu().nan_to_num(1.0), want.to(dtype).nan_to_num(1.0))


@pytest.mark.parametrize("budget", [3, 5, 8])
def test_packed_blocks_move_and_stay_and_give_the_same_bits(budget, tmp_path):
    # The tower computes on the device; what counts is that its weights are the file's.
    tower, path = tower_in_file("lattice-heavy", tmp_path)
    tower = tower.to(CUDA)
    x = torch.randn(2, WIDTH, device=CUDA)
    streamed = copy.deepcopy(tower)
    settings = StreamSettings(512 + budget * LAYER_NBYTES, 0, 2)
    order = [1 + i for i in tower.order]
    with (
        torch.no_grad(),
        attach(streamed, streamed.blocks(), order, open_tower(path), settings, CUDA, torch.float32) as handle,
    ):
        for _ in range(20):
            assert torch.equal(streamed(x), tower(x))
        assert bool(handle.plan.packed) == (budget < 8)


def test_the_same_picture_for_every_budget_and_it_shows_what_was_asked(demo_lzr2):
    request = Request("red apple", None, 0, 25, 2.5, 64, 64)
    pictures = []
    for weights_and_activations in (20_000_000, UNLIMITED):
        options = PipelineOptions(weights=demo_lzr2, device="cuda", vae_tile=0)
        with open_pipeline(options, lambda line: None) as pipeline:
            # Not as the pipeline's own budget: the allocator takes 20 MiB at a time, and the cap is on what it takes.
            pipeline.parts.share.nbytes = pipeline.parts.share.reserved_nbytes + weights_and_activations
            picture = pipeline.generate(request)
            streamed = [handle.plan.streamed_nbytes for handle in pipeline.parts.handles.values()]
            assert any(streamed) == (weights_and_activations < UNLIMITED)
            assert nearest_concept(picture) == "red apple"
            pictures.append(np.asarray(picture))
    assert np.array_equal(*pictures)


def test_from_the_second_step_on_nothing_is_allocated_and_nobody_waits_for_the_device(demo_lzr2):
    unet = empty_unet(json.loads((demo_directory() / "unet" / "config.json").read_text()))
    with (
        torch.no_grad(),
        stream_unet(unet, Lzr2Source(demo_lzr2), StreamSettings(5_000_000, 0, 2), CUDA, torch.float16) as handle,
    ):
        arguments = inputs()
        arguments["timestep"] = torch.tensor(500, device=CUDA)
        for _ in range(2):
            unet(**arguments)
        torch.cuda.synchronize()
        before = torch.cuda.memory_stats()
        try:
            torch.cuda.set_sync_debug_mode("error")  # an operation that waits for the device raises
            for _ in range(5):
                unet(**arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        after = torch.cuda.memory_stats()
        for counter in ("segment.all.allocated", "segment.all.freed", "num_alloc_retries"):
            assert after[counter] == before[counter]
        assert handle.plan.streamed_nbytes > 0


def outside() -> int:
    """Bytes of the device that are no tensors of this process: its context and kernels, where it is alone there."""
    free, total = torch.cuda.mem_get_info()
    return total - free - torch.cuda.memory_reserved()


def test_the_whole_pipeline_stays_within_the_budget_and_the_context(demo_lzr2):
    request = Request("red apple", None, 0, 4, 2.5, 64, 64)
    context, at_first = context_nbytes(CUDA), outside()
    budget = context + 100_000_000 + torch.cuda.memory_allocated()  # the allocator takes 20 MiB at a time
    fraction = torch.cuda.get_per_process_memory_fraction()
    options = PipelineOptions(weights=demo_lzr2, device="cuda", vram_budget_nbytes=budget)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with open_pipeline(options, lambda line: None) as pipeline:
        assert torch.cuda.get_per_process_memory_fraction() < fraction
        pipeline.generate(request)
        pipeline.generate(request)
        _, reserved = pipeline.parts.device_peak_nbytes()
    assert reserved + context <= budget
    assert outside() - at_first <= KERNELS_NBYTES  # else the room for kernels is too small
    assert torch.cuda.get_per_process_memory_fraction() == fraction
