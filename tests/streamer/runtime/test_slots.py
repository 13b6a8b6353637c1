"""One slab at a time, of the size that the plan asks for."""

from __future__ import annotations

import pytest
import torch

from streamer.config import StreamSettings
from streamer.plan import Plan, lay_out, make_plan
from streamer.runtime.slots import DeviceSlots
from streamer.tiers.upload import DirectUpload, StagedUpload

BLOCKS = [lay_out("rest", [("r", (8,))], 4, pinned=True), *(lay_out(f"b{i}", [(f"w{i}", (256,))], 4) for i in range(4))]


def plan(budget: int) -> Plan:
    return make_plan(BLOCKS, range(1, 5), budget)


def slots(*, staged: bool = False) -> DeviceSlots:
    return DeviceSlots(torch.device("cpu"), torch.float32, StreamSettings(staged=staged), lambda: False)


def test_nothing_before_a_plan_and_nothing_after_it_is_let_go():
    made = slots()
    assert (made.nbytes, made.upload, made.views) == (0, None, ())
    made.install(plan(512 + 3 * 1024))
    assert made.nbytes == 512 + 3 * 1024
    assert [tuple(view.shape for view in block) for block in made.views] == [((8,),), *[((256,),)] * 4]
    made.let_go()
    made.let_go()
    assert (made.nbytes, made.upload, made.views) == (0, None, ())


@pytest.mark.parametrize("staged", [False, True])
def test_the_way_is_what_the_settings_ask_for(staged):
    made = slots(staged=staged)
    made.install(plan(1 << 20))
    assert type(made.upload) is (StagedUpload if staged else DirectUpload)


@pytest.mark.parametrize(("second", "same"), [(512 + 2 * 1024, False), (512 + 4 * 1024, False), (512 + 3 * 1024, True)])
def test_a_slab_is_used_again_only_where_it_fits_plan_and_budget(second, same):
    made = slots()
    made.install(plan(512 + 3 * 1024))
    arena = made._arena
    made.install(plan(second))
    assert (made._arena is arena) == same
    assert made.nbytes <= second


@pytest.mark.parametrize("staged", [False, True])
def test_made_in_inference_mode_other_threads_can_write_to_it(staged):
    made = slots(staged=staged)
    with torch.inference_mode():
        made.install(plan(1 << 20))
    assert made.upload is not None
    targets = made.upload.targets(1)
    assert targets is not None
    for tensor in (*targets, *made.views[1]):
        assert isinstance(tensor, torch.Tensor)
        assert not tensor.is_inference()
        tensor.zero_()
