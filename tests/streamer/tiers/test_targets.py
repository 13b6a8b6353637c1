"""What is written for a block on the host, tensor by tensor, in either form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lzr2
from streamer.plan import lay_out, make_plan
from streamer.sources.inflated import InflatedSections
from streamer.sources.lzr2 import Lzr2Source
from streamer.tiers.arena import tensor_views
from streamer.tiers.expand import Expander
from streamer.tiers.targets import InflatedTarget, packed_targets, write


@pytest.fixture
def source(tmp_path):
    random = np.random.default_rng(4)
    matrix = (random.integers(-1, 2, (48, 80)) * 0.25).astype(np.float16)
    matrix[random.random(matrix.shape) < 0.02] = 0.7
    path = tmp_path / "w.lzr2"
    lzr2.save_file({"matrix": matrix, "bias": random.normal(size=48).astype(np.float16)}, path, d=8)
    source = Lzr2Source(path)
    yield source
    source.close()


@pytest.fixture
def plan(source):
    infos = {key: source.info(key) for key in ("matrix", "bias")}
    block = lay_out("b", [(key, i.shape) for key, i in infos.items()], 4, inflated=[i.inflated for i in infos.values()])
    return make_plan([block], [0], 1 << 20)


def test_each_tensor_is_written_in_its_form_and_both_forms_have_the_same_values(source, plan):
    places = plan.blocks[0].tensors
    memory = torch.full((plan.blocks[0].packed.nbytes,), 0xEE, dtype=torch.uint8)
    dense = tensor_views(torch.empty(plan.blocks[0].nbytes, dtype=torch.uint8), plan, 0, torch.float32)
    targets = packed_targets(memory, plan, 0, torch.float32)
    for place, target, values in zip(places, targets, dense, strict=True):
        write(source, place.key, target)
        write(source, place.key, values)
    matrix, bias = targets
    assert isinstance(matrix, InflatedTarget)
    assert torch.equal(bias, dense[1])
    out = torch.empty(48, 80)
    sections = InflatedSections.within(matrix.memory, matrix.sizes)
    Expander(torch.device("cpu")).expand(sections, out, torch.empty(4096, dtype=torch.uint8))
    assert torch.equal(out, dense[0])
    matrix.memory.fill_(0)
    assert torch.equal(bias, dense[1])
