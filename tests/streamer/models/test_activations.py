"""Memory beside weights, told from shapes and compared with what a real forward holds."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from streamer.models import activations
from streamer.models.activations import ActivationMeter
from tests.streamer.models.live_memory import LiveMemory

NO_ONEDNN, WHY = not torch.backends.mkldnn.is_available(), "this build of torch convolves without oneDNN"


class Chain(nn.Module):
    """Two layers one after the other: at most three results of 4 KiB live at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 1024)
        self.second = nn.Linear(1024, 1024)

    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        return torch.tanh(self.second(self.first(x))) * scale


class Attention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return scaled_dot_product_attention(x, x, x)


@pytest.fixture(autouse=True)
def no_margin(monkeypatch):
    monkeypatch.setattr(activations, "_MARGIN", 1.0)


def on_meta(kind: type[nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return kind()


def test_as_much_as_a_real_forward_holds():
    meter = ActivationMeter(lambda: on_meta(Chain))
    x, chain = torch.zeros(3, 8), Chain()
    with torch.no_grad(), LiveMemory() as live:
        chain(x)
    assert meter((x,), {}) == live.peak_nbytes > 0


def test_results_that_are_let_go_of_do_not_count():
    nbytes = ActivationMeter(lambda: on_meta(Chain))((torch.zeros(1, 8),), {})
    assert nbytes == 2 * 4096


def test_attention_does_not_write_its_scores_out():
    x = torch.empty(1, 2, 1000, 8, device="meta")
    assert ActivationMeter(Attention)((x,), {}) == x.nbytes


_CONVOLVE = """
import re, torch
from pathlib import Path
def most():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
with torch.no_grad(), torch.backends.mkldnn.flags(enabled={with_onednn}):
    layer, x = torch.nn.Conv2d(64, 32, 3, padding=1), torch.ones(1, 64, {side}, {side})
    layer(x[..., :8, :8].contiguous())
    Path("/proc/self/clear_refs").write_text("5")  # the most from now on: proc(5)
    before = most()
    layer(x)
    print(most() - before)
"""


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the system doesn't count a process's most from now on"
)
@pytest.mark.parametrize("with_onednn", [pytest.param(True, marks=pytest.mark.skipif(NO_ONEDNN, reason=WHY)), False])
def test_a_convolution_on_a_processor_takes_what_the_system_counts(monkeypatch, with_onednn):
    side = 512 if with_onednn else 200
    code = _CONVOLVE.format(with_onednn=with_onednn, side=side)
    counted = int(subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, check=True).stdout)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: with_onednn)
    meter = ActivationMeter(lambda: nn.Conv2d(64, 32, 3, padding=1, device="meta"), on_processor=True)
    told = meter((torch.empty(1, 64, side, side, device="meta"),), {})
    assert told == pytest.approx(counted, rel=0.1)
    elsewhere = ActivationMeter(lambda: nn.Conv2d(64, 32, 3, padding=1, device="meta"))
    assert elsewhere((torch.empty(1, 64, side, side, device="meta"),), {}) == 4 * 32 * side * side


_FREED = """
import platform, re, torch
from pathlib import Path
def most():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
def ones(nbytes):
    return torch.ones(nbytes >> 2)
ones({nbytes})  # freed: from now on as much as this, or as glibc will, comes from the heap
Path("/proc/self/clear_refs").write_text("5")  # the most from now on: proc(5)
before = most()
freed, kept = [ones({nbytes}) for _ in range(4)], ones(1 << 17)
del freed
ones(96 << 20)
print(most() - before)
"""


class FourThenALargeOne(nn.Module):
    """As the program above: four results that are freed below one that isn't, then one of 96 MiB."""

    def __init__(self, nbytes: int) -> None:
        super().__init__()
        self.nbytes = nbytes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        freed = [x.new_ones(self.nbytes >> 2) for _ in range(4)]
        kept = x.new_ones(len(freed) << 13)
        del freed
        return x.new_ones(96 << 18), kept


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or sys.maxsize < 1 << 40, reason="the rule is of glibc's heap with 64 bits"
)
@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the system doesn't count a process's most from now on"
)
@pytest.mark.parametrize(("nbytes", "stays"), [(31 << 20, True), (40 << 20, False)])
def test_which_freed_results_stay_the_processs_is_as_the_system_counts(nbytes, stays):
    code = _FREED.format(nbytes=nbytes)
    others = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    counted = int(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)
    told = ActivationMeter(lambda: FourThenALargeOne(nbytes), on_processor=True)((torch.empty(1, device="meta"),), {})
    assert told == pytest.approx(counted, rel=0.1)
    assert told == pytest.approx(4 * nbytes + (96 << 20) if stays else 4 * nbytes, rel=0.01)


class SmallThenLarge(nn.Module):
    """A result of 1 MiB that is freed, then one of 64 MiB."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = x.new_zeros(1 << 18).shape[0]  # freed here
        return x.new_zeros(size << 6)


def test_on_a_processor_what_a_heap_keeps_and_what_the_system_takes_back_are_added_up_each_for_itself():
    x = torch.empty(1, device="meta")
    assert ActivationMeter(SmallThenLarge)((x,), {}) == 64 << 20
    assert ActivationMeter(SmallThenLarge, on_processor=True)((x,), {}) == 65 << 20


def test_it_grows_with_the_arguments_and_is_found_once_for_each_kind():
    made = []
    meter = ActivationMeter(lambda: made.append(1) or on_meta(Chain))
    one, two = meter((torch.zeros(1, 8),), {}), meter((torch.zeros(2, 8),), {})
    assert two == 2 * one
    assert meter((torch.ones(1, 8),), {"scale": 1.0}) == one
    assert made == [1]


def test_what_the_copy_does_not_know_is_taken_to_need_the_most_so_far():
    meter = ActivationMeter(lambda: on_meta(Chain))
    with pytest.warns(UserWarning, match="What the module needs"):
        assert meter((torch.zeros(1, 9),), {}) == 0
    known = meter((torch.zeros(5, 8),), {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert meter((torch.zeros(1, 8),), {"adapter": torch.zeros(1)}) == known
        assert meter((torch.zeros(1, 9),), {}) == known  # also what was 0 before anything was known
        assert meter((torch.zeros(9, 8),), {}) > known
        assert meter((torch.zeros(1, 9),), {}) == meter((torch.zeros(9, 8),), {})


def test_the_module_is_only_asked_for_when_it_is_needed():
    ActivationMeter(lambda: pytest.fail("too early"))


def test_when_the_structure_changes_another_copy_is_made():
    now, made = [1], []
    meter = ActivationMeter(lambda: made.append(now[0]) or on_meta(Chain), lambda: now[0])
    first = meter((torch.zeros(1, 8),), {})
    now[0] = 2
    assert meter((torch.zeros(1, 8),), {}) == first
    assert made == [1, 2]
    now[0] = 3
    assert meter((torch.zeros(1, 8),), {"adapter": torch.zeros(1)}) == first  # the most so far


def test_a_module_that_cannot_be_copied_is_taken_to_need_nothing_and_that_is_told():
    def impossible() -> nn.Module:
        raise TypeError("no copies of this")

    meter = ActivationMeter(impossible, name="the Chain")
    with pytest.warns(
        UserWarning, match=r"What the Chain needs for such arguments .*TypeError: no copies of this.*weights alone"
    ):
        assert meter((torch.zeros(1, 8),), {}) == 0
