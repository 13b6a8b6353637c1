"""A block on its way into its slot: pytest benchmarks/runtime/test_upload.py. What arrives is first compared."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.rate import tell_rate
from streamer.plan import lay_out, make_plan
from streamer.tiers.arena import Arena
from streamer.tiers.staging import StagingPool
from streamer.tiers.upload import DirectUpload, StagedUpload, Upload

SHAPES = [(1280, 1280)] * 4 + [(5120, 1280), (1280, 2560)]  # about a transformer block of SDXL
HIDDEN = [torch.float16, torch.float32]


@pytest.mark.parametrize("dtype", HIDDEN, ids=str)
@pytest.mark.parametrize(
    ("device", "staged"),
    [
        pytest.param("cpu", False, id="cpu, into the slot"),
        pytest.param("cpu", True, id="cpu, staged"),
        pytest.param("cuda", True, id="cuda, staged", marks=pytest.mark.gpu),
    ],
)
def test_a_block(benchmark: Any, device: str, staged: bool, dtype: torch.dtype) -> None:
    where = torch.device(device)
    blocks = [
        lay_out(f"b{n}", [(f"b{n}.{t}", shape) for t, shape in enumerate(SHAPES)], dtype.itemsize) for n in range(2)
    ]
    plan = make_plan(blocks, range(2), 1 << 30)
    arena = Arena(plan.arena_nbytes, where)
    views = tuple(arena.views(plan, n, dtype) for n in range(2))
    upload: Upload = DirectUpload(views)
    if staged:
        pool = StagingPool(2, max(block.nbytes for block in blocks), pinned=device == "cuda")
        upload = StagedUpload(plan, arena, dtype, where, pool, lambda: False)
    weights = [torch.randn(shape).to(dtype) for shape in SHAPES]

    def run() -> None:
        targets = upload.targets(0)
        assert targets is not None
        for target, weight in zip(targets, weights, strict=True):
            assert isinstance(target, torch.Tensor)  # as none of the blocks is packed
            target.copy_(weight)
        upload.send(0)
        upload.before_use(0)
        upload.after_use(0)
        upload.drain()

    for view in views[0]:
        view.fill_(-1)
    run()
    assert all(torch.equal(view.cpu(), weight) for view, weight in zip(views[0], weights, strict=True))
    benchmark.pedantic(run, rounds=10, warmup_rounds=1)
    tell_rate(benchmark, "weights", blocks[0].nbytes)
