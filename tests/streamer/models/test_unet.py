"""The demo's U-Net streamed: equal to the resident one bit for bit, its order known beforehand."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from streamer.config import UNLIMITED, StreamSettings
from streamer.models.demo import demo_directory
from streamer.models.sdxl import sdxl_unet_config
from streamer.models.turns import execution_order
from streamer.models.unet import empty_unet, expected_tensors, stream_unet, unet_blocks
from streamer.plan import lay_out, smallest_budget
from streamer.sources.lzr2 import Lzr2Source
from streamer.sources.safetensors import SafetensorsSource

SDXL_CONFIG = sdxl_unet_config()


def config() -> dict:
    return json.loads((demo_directory() / "unet" / "config.json").read_text())


def inputs() -> dict:
    random = torch.Generator().manual_seed(0)
    return {
        "sample": torch.randn(2, 4, 16, 16, generator=random),
        "timestep": 500,
        "encoder_hidden_states": torch.randn(2, 77, 192, generator=random),
        "added_cond_kwargs": {
            "text_embeds": torch.randn(2, 128, generator=random),
            "time_ids": torch.rand(2, 6, generator=random) * 64,
        },
    }


def smallest() -> int:
    blocks = unet_blocks(empty_unet(config()))
    return smallest_budget([lay_out(b.name, [(p.key, p.shape) for p in b.places], 4, pinned=b.pinned) for b in blocks])


CASES = list(itertools.product(["smallest", 9_000_000, 20_000_000, UNLIMITED], [0, 1, 2], ["mmap", "pread"]))


@pytest.mark.parametrize(("budget", "workers", "io"), CASES)
@pytest.mark.parametrize("kind", ["lzr2", "safetensors"])
def test_bit_identical_to_the_resident_unet(resident_unet, demo_lzr2, demo_safetensors, kind, budget, workers, io):
    budget = smallest() if budget == "smallest" else budget
    unet = empty_unet(config())
    source = Lzr2Source(demo_lzr2, io) if kind == "lzr2" else SafetensorsSource([demo_safetensors], io)
    with (
        torch.no_grad(),
        stream_unet(unet, source, StreamSettings(budget, 0, workers), torch.device("cpu"), torch.float32) as handle,
    ):
        want = resident_unet(**inputs()).sample
        for _ in range(2):
            assert torch.equal(unet(**inputs()).sample, want)
        assert handle.device_nbytes <= budget
        assert handle.stats.totals.surprises == 0
        assert handle.stats.totals.replans == 0


def test_the_first_block_runs_when_its_own_weights_were_read_and_nothing_else_but_headers(demo_lzr2):
    unet = empty_unet(config())
    source = Lzr2Source(demo_lzr2, "pread")
    read: list[int] = []
    bytes_of_file = source._file._source
    fill = bytes_of_file._fill
    bytes_of_file._fill = lambda offset, out: (read.append(out.nbytes), fill(offset, out))

    def stop(*_: object) -> None:
        raise InterruptedError

    blocks = unet_blocks(unet)
    first = blocks[execution_order(blocks)[0]]
    with (
        torch.no_grad(),
        stream_unet(unet, source, StreamSettings(workers=0), torch.device("cpu"), torch.float32),
    ):
        read.clear()
        first.module.register_forward_pre_hook(stop)
        with pytest.raises(InterruptedError):
            unet(**inputs())
    own = [
        source._file.record(place.key) for block in blocks if block.pinned or block is first for place in block.places
    ]
    assert sum(read) < 1.1 * sum(record.record_nbytes for record in own)
    assert sum(record.record_nbytes for record in own) < demo_lzr2.stat().st_size / 10


@pytest.mark.parametrize("threads", [1, 2])
def test_bit_identical_for_each_number_of_compute_threads(resident_unet, demo_lzr2, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        unet = empty_unet(config())
        settings = StreamSettings(smallest(), 0, 2)
        with torch.no_grad(), stream_unet(unet, Lzr2Source(demo_lzr2), settings, torch.device("cpu"), torch.float32):
            assert torch.equal(unet(**inputs()).sample, resident_unet(**inputs()).sample)
    finally:
        torch.set_num_threads(before)


def test_the_streamed_unet_looks_like_one_with_weights(resident_unet, demo_lzr2):
    unet = empty_unet(config())
    with stream_unet(unet, Lzr2Source(demo_lzr2), StreamSettings(), torch.device("cpu"), torch.float32):
        assert unet.dtype == torch.float32
        assert unet.device == torch.device("cpu")
        facts = [(key, p.shape, p.dtype, p.device) for key, p in resident_unet.named_parameters()]
        assert [(key, p.shape, p.dtype, p.device) for key, p in unet.named_parameters()] == facts


def test_the_order_is_known_before_the_first_forward(resident_unet):
    blocks = unet_blocks(resident_unet)
    ran: list[str] = []
    hooks = [
        block.module.register_forward_pre_hook(lambda *_, name=block.name: ran.append(name))
        for block in blocks
        if not block.pinned
    ]
    with torch.no_grad():
        resident_unet(**inputs())
    for hook in hooks:
        hook.remove()
    assert [blocks[i].name for i in execution_order(blocks)] == ran


def test_full_size_blocks_are_small_and_a_partition():
    unet = empty_unet(json.loads(SDXL_CONFIG.read_text()))
    blocks = unet_blocks(unet)
    keys = [place.key for block in blocks for place in block.places]
    assert sorted(keys) == sorted(expected_tensors(unet))
    assert len(keys) == 1680
    counts = {block.name: sum(place.parameter.numel() for place in block.places) for block in blocks}
    assert sum(counts.values()) == 2_567_463_684
    kinds = {type(block.module).__name__ for block in blocks if counts[block.name] > 4_000_000}
    assert kinds == {"BasicTransformerBlock", "ResnetBlock2D", "Upsample2D"}
    assert max(counts.values()) < 50_000_000
    assert counts["rest"] < 100_000
    names = [type(blocks[i].module).__name__ for i in execution_order(blocks)]
    assert names.count("BasicTransformerBlock") == 70
    runway = sum(counts[block.name] for block in blocks if block.runway)
    assert 150_000_000 < runway < 200_000_000
