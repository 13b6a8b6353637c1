"""The engine with a spill file: the same results, read at two bytes a weight from the second time on."""

from __future__ import annotations

import pytest
import torch

from streamer.config import UNLIMITED, StreamSettings
from tests.streamer.runtime.files import KINDS, open_tower, stream_file, tower_in_file
from tests.streamer.tower import LAYER_NBYTES, LAYERS

BUDGET = 512 + 2 * LAYER_NBYTES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("ram", [0, 2000, UNLIMITED])
def test_results_equal_the_resident_module(kind, workers, ram, tmp_path):
    tower, path = tower_in_file(kind, tmp_path)
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    for _ in range(2):  # the second finds the first one's file
        settings = StreamSettings(BUDGET, ram, workers, spill_dir=tmp_path / "spill")
        streamed, handle = stream_file(tower, open_tower(path), settings)
        with handle, torch.no_grad():
            for _ in range(3):
                assert torch.equal(streamed(x), tower(x))
            if kind != "lattice-heavy":  # its small tensors may be worth it
                assert (handle.spill_path is not None) == (kind == "overlay-heavy" and ram != UNLIMITED)


def test_the_second_step_reads_two_bytes_a_weight(tmp_path):
    tower, path = tower_in_file("overlay-heavy", tmp_path)
    x = torch.randn(3, 16)
    settings = StreamSettings(BUDGET, 0, 0, spill_dir=tmp_path / "spill")
    source = open_tower(path)
    streamed, handle = stream_file(tower, source, settings)
    with handle, torch.no_grad():
        for _ in range(3):
            streamed(x)
        first, second, third = (step.work.read_nbytes for step in handle.stats.steps)
    weights = sum(tensor.numel() for key, tensor in tower.state_dict().items() if key.startswith("layers."))
    n_streamed = LAYERS - len([i for i in handle.plan.resident if not handle.plan.blocks[i].pinned])
    assert second == third == 2 * weights * n_streamed // LAYERS
    assert first > 3 * second
