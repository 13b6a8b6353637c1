"""Steps with the weights on a storage of some speed: predicted, measured where that is emulated, and advice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from streamer.bench.forecast import Forecast, Outlook, forecast
from streamer.bench.free_memory import FreeMemory, free_memory
from streamer.bench.own_process import run_here
from streamer.bench.step_size import StepSize, step_size
from streamer.bench.stream_sweep import AskedSize, BudgetRun, Told, run_at
from streamer.models.open import PipelineOptions, open_unet
from streamer.plan.thresholds import thinned

_NEAR = 1.15  # times the fastest: worth a smaller budget
_BUDGETS = 5
_SYSTEM_NBYTES = 10**9  # of free memory that is left to others


@dataclass(frozen=True)
class StorageStep:
    """One budget on one storage.

    Attributes:
        budget_nbytes: of everything on the device.
        outlook: with nothing of the file in the page cache: what streams comes from the storage in every step.
        cached: with everything there.
        run: what was measured with nothing there; None: nothing was.
    """

    budget_nbytes: int
    outlook: Outlook
    cached: Outlook
    run: BudgetRun | None = None


@dataclass(frozen=True)
class Advice:
    """Settings for one storage.

    Attributes:
        vram_nbytes: the smallest of the budgets that isn't much slower than the fastest.
        ram_nbytes: for weights in host memory: what was given; where steps are much faster with it, for what streams,
            or as much of it as there is room for.
        step_seconds: predicted with both, with nothing cached.
        cached_seconds: predicted with both, with everything cached.
    """

    vram_nbytes: int
    ram_nbytes: int
    step_seconds: float
    cached_seconds: float


@dataclass(frozen=True)
class StepsOutlook:
    """A model that is ready to be asked about storages; its weights are open until `close`.

    Attributes:
        options: model, weights and device.
        size: of a step.
        forecast: of this machine.
        budgets: to ask about, ascending.
        free: memory of the machine.
    """

    options: PipelineOptions
    size: StepSize
    forecast: Forecast
    budgets: tuple[int, ...]
    free: FreeMemory

    @property
    def stored_nbytes(self) -> int:
        """Of all weights in their file."""
        return sum(self.forecast.decode.stored_nbytes.values())

    @property
    def decode_seconds(self) -> float:
        """Of reading all of them from the page cache and decoding them, on one of the threads that do so."""
        return sum(self.forecast.decode.read.values())

    def on(self, disk: float) -> tuple[StorageStep, ...]:
        """What steps are like on a storage of so many bytes a second."""
        cold = _with_disk(self.forecast, disk)
        warm = _cached(self.forecast)
        return tuple(StorageStep(budget, cold.at(budget), warm.at(budget)) for budget in self.budgets)

    def measured(self, disk: float, steps: int, on_step: Callable[[int, int, float], None]) -> tuple[StorageStep, ...]:
        """The same, and run: reads take as long as from such a storage.

        Args:
            disk: bytes a second.
            steps: at each budget, after one that isn't counted.
            on_step: told budget, step and seconds.
        """
        found = []
        for step in self.on(disk):
            budget = step.budget_nbytes
            options = replace(self.options, vram_budget_nbytes=budget)

            def told(number: int, seconds: float, budget: int = budget) -> None:
                on_step(budget, number, seconds)

            run = run_at(options, self.forecast, self.size, steps, disk=disk, run=run_here, on_step=told)
            found.append(replace(step, run=run))
        return tuple(found)

    def close(self) -> None:
        """Lets go of the weights."""
        self.forecast.source.close()


def outlook_of(
    options: PipelineOptions, budgets: Sequence[int], size: AskedSize, notify: Told, warn: Told
) -> StepsOutlook:
    """Measures this machine for some seconds; the caller closes what it returns.

    Args:
        options: model, weights and device.
        budgets: to ask about; none: some, from the smallest that works to the one for everything.
        size: of the picture.
        notify: told what takes time, a line each.
        warn: told what doesn't fit, a line each.

    Raises:
        PartBudgetError: a budget can't work.
    """
    opened = open_unet(options, notify, warn, with_rest=False)
    try:
        asked = step_size(opened, size.width, size.height, size.guidance)
        expected = forecast(opened, asked.shape, beside_nbytes=asked.beside_nbytes, holds=True)
        free = free_memory(opened.device)
        chosen = tuple(sorted(set(budgets))) or thinned(expected.fitting(free.device), _BUDGETS)
        for budget in chosen:
            expected.at(budget)  # raises before anything was measured
    except BaseException:
        opened.source.close()
        raise
    return StepsOutlook(options, asked, expected, chosen, free)


def advice(steps: Sequence[StorageStep], disk: float, forecast: Forecast, free: FreeMemory) -> Advice:
    """The settings that suit a storage, within the memory that is free, and what is predicted for just these.

    Args:
        steps: by ascending budget; at least one.
        disk: bytes a second of that storage.
        forecast: of the same model, with what host memory costs.
        free: memory of the machine.
    """
    everything = forecast.thresholds()[-1]  # a larger budget isn't used
    fitting = [step for step in steps if step.outlook.needed_nbytes <= free.device] or steps[:1]
    each = [_best_with(step, disk, forecast, free, everything) for step in fitting]
    fastest = min(one.step_seconds for one in each)
    return next(one for one in each if one.step_seconds <= _NEAR * fastest)


def _best_with(step: StorageStep, disk: float, forecast: Forecast, free: FreeMemory, everything: int) -> Advice:
    """With the memory that was given, or with all there is room for where steps are much faster then."""
    plan, given = step.outlook.plan, forecast.settings.ram_budget_nbytes
    as_given = Advice(
        step.budget_nbytes, given, step.outlook.prediction.step_seconds, step.cached.prediction.step_seconds
    )
    streamed = {place.key for block in plan.streamed for place in plan.blocks[block].tensors}
    beside = min(step.budget_nbytes, everything) if forecast.machine.compute_threads > 0 else 0
    room = max(0, free.host - _SYSTEM_NBYTES - beside)
    ram = min(sum(forecast.source.info(key).held_nbytes for key in streamed), room)
    if ram <= given:
        return as_given
    keeping = replace(forecast, settings=replace(forecast.settings, ram_budget_nbytes=ram))
    cold, warm = (one.at(step.budget_nbytes).prediction for one in (_with_disk(keeping, disk), _cached(keeping)))
    if as_given.step_seconds <= _NEAR * cold.step_seconds:
        return as_given
    return Advice(step.budget_nbytes, ram, cold.step_seconds, warm.step_seconds)


def _with_disk(expected: Forecast, disk: float) -> Forecast:
    return replace(
        expected,
        settings=replace(expected.settings, page_cache_nbytes=0),
        machine=replace(expected.machine, disk=disk),
    )


def _cached(expected: Forecast) -> Forecast:
    return replace(expected, machine=replace(expected.machine, disk=None))
