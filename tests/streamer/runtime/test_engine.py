"""The engine on a small tower: right weights at the right time, under every setting, and after every mishap."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import traceback
import weakref

import pytest
import torch

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import BrokenStepError, BudgetError, EngineClosedError
from tests.streamer.tower import LAYER_NBYTES, LAYERS, Tower, prefetch_threads, stream_tower

REST_NBYTES = 512
HELD_NBYTES = 16 * 16 * 4 + 16 * 4
SMALLEST = REST_NBYTES + LAYER_NBYTES
BUDGETS = [SMALLEST, SMALLEST + 700, REST_NBYTES + 2 * LAYER_NBYTES, REST_NBYTES + 4 * LAYER_NBYTES, UNLIMITED]


@pytest.fixture
def tower() -> Tower:
    torch.manual_seed(0)
    return Tower()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("budget", "workers", "staged"), list(itertools.product(BUDGETS, (0, 1, 2, 3), (False, True))))
def test_results_equal_the_resident_module(tower, x, budget, workers, staged):
    with torch.no_grad():
        want = tower(x)
        handle, _ = stream_tower(tower, StreamSettings(budget, 0, workers, staged))
        with handle:
            for _ in range(4):
                assert torch.equal(tower(x), want)
            assert handle.device_nbytes <= budget
            assert handle.stats.totals.surprises == 0
            assert len(handle.stats.steps) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_all_weights_on_the_device_lie_in_the_slab_and_leave_it_after_use(tower, x, workers):
    budget = REST_NBYTES + 3 * LAYER_NBYTES
    handle, _ = stream_tower(tower, StreamSettings(budget, 0, workers))
    low, seen = [], []

    def look(module: torch.nn.Module, *_: object) -> None:
        here = [p for p in tower.parameters() if p.untyped_storage().nbytes() > 8]
        low.extend(p.untyped_storage().data_ptr() for p in here)
        seen.append(sum(p.nbytes for p in here))
        assert not any(torch.isnan(p).any() for p in module.parameters())

    for layer in tower.layers:
        layer.register_forward_pre_hook(look)
    with handle, torch.no_grad():
        for _ in range(3):
            tower(x)
        assert len(set(low)) == 1
        assert max(seen) <= budget
        streamed = [handle.plan.blocks[i].name for i in set(handle.plan.streamed)]
        assert streamed
        for name in streamed:
            for parameter in tower.get_submodule(name).parameters():
                assert torch.isnan(parameter).all()
                assert parameter.untyped_storage().nbytes() == parameter.element_size()


def test_one_byte_less_than_the_smallest_budget_is_an_error_that_names_it(tower):
    with pytest.raises(BudgetError) as caught:
        stream_tower(tower, StreamSettings(SMALLEST - 1))
    assert caught.value.smallest_nbytes == SMALLEST
    assert prefetch_threads() == []


def test_the_first_block_runs_as_soon_as_its_own_weights_are_there(tower, x):
    handle, source = stream_tower(tower, StreamSettings(UNLIMITED, 0, 1))
    gate = source.gates["layers.1.weight"] = threading.Event()
    waited_in_vain = []

    def open_gate(*_: object) -> None:
        waited_in_vain.append(gate.is_set())
        gate.set()

    tower.layers[0].register_forward_hook(open_gate)
    with handle, torch.no_grad():
        tower(x)
    assert waited_in_vain == [False]


def test_with_room_for_everything_each_tensor_is_read_once(tower, x):
    handle, source = stream_tower(tower, StreamSettings(UNLIMITED, 0, 2))
    with handle, torch.no_grad():
        for _ in range(3):
            tower(x)
    assert sorted(source.reads) == sorted(source.keys())


def test_what_the_host_cache_keeps_is_read_once_and_counts(tower, x):
    with torch.no_grad():
        want = tower(x)
        handle, source = stream_tower(tower, StreamSettings(SMALLEST, 3 * HELD_NBYTES + 1, 1))
        with handle:
            for _ in range(4):
                assert torch.equal(tower(x), want)
            assert handle.held_nbytes == 3 * HELD_NBYTES
        times = [source.reads.count(f"layers.{i}.weight") for i in range(LAYERS)]
        assert times.count(1) == 3
        assert all(n in (1, 4, 5) for n in times)  # 5: the next step's first was fetched ahead


def run_twice(tower: Tower, x: torch.Tensor) -> None:
    """What fails may have been fetched ahead before it was made to fail: then the second forward meets it."""
    tower(x)
    tower(x)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("budget", [SMALLEST, REST_NBYTES + 3 * LAYER_NBYTES])
def test_what_a_worker_raises_comes_out_of_the_forward_and_the_next_one_works(tower, x, workers, budget):
    with torch.no_grad():
        want = tower(x)
        handle, source = stream_tower(tower, StreamSettings(budget, 0, workers))
        with handle:
            assert torch.equal(tower(x), want)
            for key in ("layers.3.weight", "layers.0.bias"):
                if handle.plan.blocks[1 + int(key[7])].name in {
                    handle.plan.blocks[i].name for i in handle.plan.resident
                }:
                    continue
                source.fails[key] = OSError(5, "the disk went away")
                with pytest.raises(OSError, match="the disk went away") as caught:
                    run_twice(tower, x)
                assert "_read" in "".join(traceback.format_exception(caught.value))
                del source.fails[key]
                assert torch.equal(tower(x), want)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_failed_to_load_keeps_no_activation_alive(tower, x, workers):
    # The error's traceback has every frame of the forward that it was raised in.
    handle, source = stream_tower(tower, StreamSettings(SMALLEST, 0, workers))
    seen: list[weakref.ref[torch.Tensor]] = []
    tower.layers[2].register_forward_hook(lambda module, args, result: seen.append(weakref.ref(args[0])))
    source.fails["layers.4.weight"] = OSError(5, "the disk went away")
    with handle, torch.no_grad():
        with pytest.raises(OSError, match="the disk went away"):
            tower(x)
        source.fails.clear()  # it would keep the error as well
        gc.collect()
        assert seen
        assert all(activation() is None for activation in seen)
        for layer in (0, 4):  # blocks by themselves: the weights of this step can't come any more
            with pytest.raises(BrokenStepError, match="earlier in this forward"):
                tower.layers[layer](x)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("error", [RuntimeError("in the model"), KeyboardInterrupt()])
def test_after_an_interrupted_forward_the_next_one_works(tower, x, workers, error):
    with torch.no_grad():
        want = tower(x)
        handle, _ = stream_tower(tower, StreamSettings(SMALLEST, 0, workers))
        with handle:
            assert torch.equal(tower(x), want)

            def interrupt(*_: object) -> None:
                raise error

            hook = tower.layers[2].register_forward_pre_hook(interrupt)
            with pytest.raises(type(error)):
                tower(x)
            hook.remove()
            for _ in range(2):
                assert torch.equal(tower(x), want)


@pytest.mark.parametrize("budget", BUDGETS)
def test_another_order_is_followed(tower, x, budget):
    orders = [[0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4], [0, 1, 4, 5], [0, 1, 4, 5], [2, 2, 3, 2], [0, 1, 2, 3, 4, 5]]
    with torch.no_grad():
        wants = []
        for order in orders:
            tower.order = order
            wants.append(tower(x))
        tower.order = orders[0]
        handle, _ = stream_tower(tower, StreamSettings(budget, 0, 2))
        with handle:
            for order, want in zip(orders, wants, strict=True):
                tower.order = order
                for _ in range(3):
                    assert torch.equal(tower(x), want)
                assert handle.device_nbytes <= budget
            surprises = handle.stats.totals.surprises
            for _ in range(3):
                tower(x)
            assert handle.stats.totals.surprises == surprises
            assert handle.stats.totals.replans >= 3


def test_closing_ends_the_workers_at_once_even_while_they_wait(tower, x):
    for budget in (SMALLEST, UNLIMITED):
        tower = Tower()
        handle, source = stream_tower(tower, StreamSettings(budget, 0, 3, staged=True))
        with torch.no_grad():
            tower(x)
        started = time.monotonic()
        handle.close()
        handle.close()
        assert time.monotonic() - started < 2
        assert prefetch_threads() == []
        assert source.closed
        with pytest.raises(EngineClosedError):
            tower(x)


def test_closing_before_the_first_forward(tower):
    handle, source = stream_tower(tower, StreamSettings(SMALLEST))
    handle.close()
    assert source.closed
    assert prefetch_threads() == []


def test_two_modules_stream_at_once_each_its_own_weights(x):
    towers = [Tower(), Tower()]
    with torch.no_grad():
        wants = [tower(x) for tower in towers]
        handles = [stream_tower(tower, StreamSettings(SMALLEST, 0, 1))[0] for tower in towers]
        for _ in range(3):
            for tower, want in zip(towers, wants, strict=True):
                assert torch.equal(tower(x), want)
        for handle in handles:
            handle.close()


def test_waiting_is_counted_for_the_block_that_was_waited_for(tower, x):
    handle, source = stream_tower(tower, StreamSettings(SMALLEST, 0, 1))
    gate = source.gates["layers.4.weight"] = threading.Event()
    with handle, torch.no_grad():
        threading.Timer(0.3, gate.set).start()
        tower(x)
        waited = {name: work.waited_seconds for name, work in handle.stats.by_block.items()}
        assert waited["layers.4"] > 0.1
        assert waited["layers.4"] == max(waited.values())
        assert handle.stats.steps[0].stall_share > 0.3


def test_a_fault_of_fetching_ahead_that_has_passed_when_the_next_step_begins_does_not_fail_it(tower, x):
    with torch.no_grad():
        want = tower(x)
        handle, source = stream_tower(tower, StreamSettings(SMALLEST, 0, 1))
        with handle:
            # Before the last block lets go of the only slot, nothing is fetched for the next step.
            fail = {"layers.0.weight": OSError(5, "a cable came loose")}
            hook = tower.layers[-1].register_forward_hook(lambda *_: source.fails.update(fail))
            assert torch.equal(tower(x), want)
            hook.remove()
            deadline = time.monotonic() + 30
            while not handle._engine._failure.happened:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            source.fails.clear()
            for _ in range(2):
                assert torch.equal(tower(x), want)


def test_the_next_block_is_hinted_at_before_this_one_is_read(tower, x):
    handle, source = stream_tower(tower, StreamSettings(SMALLEST, 0, 0))
    with handle, torch.no_grad():
        tower(x)
        tower(x)
        hinted = [key for what, key in source.hints if what == "will need" and key.endswith("weight")]
    assert hinted[:6] == [f"layers.{i}.weight" for i in (1, 2, 3, 4, 5, 0)]


def test_what_does_not_fit_into_the_page_cache_leaves_it_once_read(tower, x):
    for page_cache, expected in ((10**9, set()), (0, set(tower.state_dict()))):
        other = Tower()
        handle, source = stream_tower(other, StreamSettings(SMALLEST, 0, 1, page_cache_nbytes=page_cache))
        with handle, torch.no_grad():
            other(x)
        assert {key for what, key in source.hints if what == "won't need"} == expected


def test_bytes_and_seconds_are_counted_for_each_hop_and_block(tower, x):
    handle, source = stream_tower(tower, StreamSettings(SMALLEST, 0, 1, staged=True))
    with handle, torch.no_grad():
        tower(x)
        tower(x)
        work = handle.stats.by_block["layers.2"]
        first, totals = handle.stats.steps[0].work, handle.stats.totals.work
    stored = sum(source.tensors[f"layers.2.{name}"].nbytes for name in ("weight", "bias"))
    loads = work.read_nbytes // stored
    assert loads in (2, 3)  # the third for the step that didn't come
    assert work.read_nbytes == work.loaded_nbytes == loads * stored
    assert work.uploaded_nbytes == loads * LAYER_NBYTES
    assert work.read_seconds == loads * 1.0  # two tensors, half a second each by the source's account
    assert work.compute_seconds > 0
    # What a worker loads before the first step begins, or after the last has ended, is in no step.
    assert 0 < first.loaded_nbytes <= totals.loaded_nbytes
    assert totals.loaded_nbytes >= sum(tensor.nbytes for tensor in source.tensors.values())
