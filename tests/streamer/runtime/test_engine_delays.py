"""Delays at random in disk, decode and copy: whatever the budget, form and threads, the same bits, and no NaN."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lzr2.file_source import PreadSource
from streamer.config import StreamSettings
from streamer.runtime.engine import Engine
from streamer.sources.cast import DenseTensor
from streamer.sources.lzr2 import InflatedHeld, Lzr2Source
from streamer.tiers.unpack import Unpacker
from streamer.tiers.upload import StagedUpload
from tests.streamer.runtime.files import KINDS, open_tower, stream_file, tower_in_file
from tests.streamer.tower import LAYER_NBYTES, WIDTH

RUNS = 100
SLOW = (
    (PreadSource, "_fill"), (Lzr2Source, "_decode"), (InflatedHeld, "write_into"), (DenseTensor, "write_into"),
    (StagedUpload, "send"), (Engine, "release"), (Engine, "acquire"), (InflatedHeld, "write_inflated_into"),
    (Unpacker, "unpack"),
)  # fmt: skip


def delayed(function: Callable[..., Any], chance: random.Random) -> Callable[..., Any]:
    def slow(*args: Any, **kwargs: Any) -> Any:
        if chance.random() < 0.2:
            time.sleep(chance.random() * 0.002)
        return function(*args, **kwargs)

    return slow


@pytest.mark.parametrize("kind", KINDS)
def test_random_delays_change_no_bit(kind, tmp_path, monkeypatch):
    tower, path = tower_in_file(kind, tmp_path)
    x = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want = tower(x)
        assert torch.isfinite(want).all()
        for run in range(RUNS):
            chance = random.Random(run)
            device_decode = chance.random() < 0.4
            settings = StreamSettings(
                512 + chance.randint(1, 7) * LAYER_NBYTES + chance.choice((0, 512)),
                chance.choice((0, 1500, 100_000)),
                chance.choice((1, 2, 4)),
                staged=device_decode or chance.random() < 0.5,
                device_decode=device_decode,
                page_cache_nbytes=chance.choice((0, 1 << 40)),
            )
            with monkeypatch.context() as patched:
                for owner, name in SLOW:
                    patched.setattr(owner, name, delayed(getattr(owner, name), chance))
                streamed, handle = stream_file(tower, open_tower(path), settings)
                with handle:
                    for step in range(3):
                        assert torch.equal(streamed(x), want), (run, step, settings)
