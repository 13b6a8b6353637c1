"""A U-Net streamed at one budget after the other: what was measured beside what was predicted, and the bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from streamer.bench.forecast import Forecast, Outlook, forecast
from streamer.bench.free_memory import free_memory
from streamer.bench.overlap import Limits, Speeds, limits
from streamer.bench.own_process import Done, Job, OnStep, run_apart
from streamer.bench.step_size import StepSize, step_size
from streamer.bench.streamed_steps import StreamedSteps
from streamer.config import UNLIMITED, format_size
from streamer.errors import BenchProcessError, smallest_size_text
from streamer.models.open import PipelineOptions, open_unet
from streamer.plan.thresholds import thinned
from streamer.tiers.device_memory import taken_nbytes

_LIBRARIES_NBYTES = 10**9  # of host memory, that each process of the steps needs beside

Told = Callable[[str], None]
Run = Callable[[Job, OnStep | None], Done]


@dataclass(frozen=True)
class AskedSize:
    """Of the picture, pixels and scale; None leaves it to the model."""

    width: int | None = None
    height: int | None = None
    guidance: float | None = None


@dataclass(frozen=True)
class BudgetRun:
    """One budget.

    Attributes:
        budget_nbytes: of everything on the device.
        outlook: what was predicted for it, before.
        steps: what was measured.
        limits: of the typical step, by what it needed.
    """

    budget_nbytes: int
    outlook: Outlook
    steps: StreamedSteps
    limits: Limits

    @property
    def bound_seconds(self) -> float:
        """No step can be faster than what it needs most of, on this machine."""
        return bound_seconds(self.outlook)

    @property
    def overlap(self) -> float:
        """How near the typical step comes to the slowest of what it needs: 1 where everything overlaps."""
        return self.limits.efficiency(self.steps.step_seconds)


@dataclass(frozen=True)
class Sweep:
    """Several budgets of one model.

    Attributes:
        size: of a step.
        forecast: that the predictions are of.
        runs: by ascending budget.
        failed: budgets at which the steps ended before their time, and why.
    """

    size: StepSize
    forecast: Forecast
    runs: tuple[BudgetRun, ...]
    failed: tuple[tuple[int, str], ...] = ()

    @property
    def results_equal(self) -> bool:
        """Whether every budget gave the same result, bit for bit."""
        return len({run.steps.digest for run in self.runs}) <= 1

    @property
    def everything_nbytes(self) -> int:
        """The budget from which on all stays: where a plot of budgets can end."""
        return self.forecast.thresholds()[-1]


def bound_seconds(outlook: Outlook) -> float:
    """What the resource that takes longest takes alone: computing, decoding, disk, link, or a CPU's processors."""
    return max(outlook.prediction.limits.values())


def sweep(
    options: PipelineOptions,
    budgets: Sequence[int],
    size: AskedSize,
    steps: int,
    notify: Told,
    warn: Told,
    *,
    evenly: int = 0,
    run: Run = run_apart,
    on_step: Callable[[int, int, float], None] | None = None,
) -> Sweep:
    """Streams at each budget, each in a process of its own, with the settings that `streamer gen` would have there.

    Where steps end before their time, as when memory runs out, the others are run all the same.

    Args:
        options: model, weights and device; their budget counts where no other is given.
        budgets: of everything on the device, in bytes.
        size: of the picture.
        steps: for each budget, after one that isn't counted.
        notify: told what takes time, a line each.
        warn: told what doesn't fit, a line each.
        evenly: so many more budgets, from the smallest that works to the one for everything, as far as memory is free.
        run: the steps of one budget.
        on_step: told budget, step and seconds.

    Raises:
        PartBudgetError: a budget can't work.
    """
    largest = replace(options, vram_budget_nbytes=max(budgets)) if budgets else options
    opened = open_unet(largest, notify, warn, with_rest=False)
    try:
        asked = step_size(opened, size.width, size.height, size.guidance)
        expected = forecast(opened, asked.shape, beside_nbytes=asked.beside_nbytes)
        free_nbytes = free_memory(opened.device).device - (0 if opened.device.type == "cuda" else _LIBRARIES_NBYTES)
        wanted = set(budgets) | set(_evenly(expected, evenly, max(0, free_nbytes), notify))
        # Of a device that is taken whole, this process has a part that the steps' own won't have.
        own_nbytes = taken_nbytes(opened.device) if options.vram_budget_nbytes is None else 0
        ordered = sorted(wanted or {opened.settings.vram_budget_nbytes - own_nbytes})
        for budget in ordered:
            expected.at(budget)  # raises before anything was run
        runs, failed = [], []
        for budget in ordered:
            notify(f"Streaming at {_text(budget)} ...")
            step_told = None if on_step is None else _of_budget(on_step, budget)
            at_budget = replace(options, vram_budget_nbytes=budget)
            try:
                runs.append(run_at(at_budget, expected, asked, steps, run=run, on_step=step_told))
            except BenchProcessError as error:
                failed.append((budget, str(error)))
    finally:
        opened.source.close()
    return Sweep(asked, expected, tuple(runs), tuple(failed))


def _evenly(expected: Forecast, count: int, free_nbytes: int, notify: Told) -> tuple[int, ...]:
    if count == 0:
        return ()
    fitting, every = expected.fitting(free_nbytes), expected.thresholds()
    if len(fitting) < len(every):
        notify(
            f"{len(every) - len(fitting)} of {len(every)} budgets are left out, since they need more than the "
            f"{format_size(free_nbytes)} that are free for weights."
        )
    return thinned(fitting, count) if count > 1 else (fitting[0],)


def run_at(
    options: PipelineOptions,
    expected: Forecast,
    size: StepSize,
    steps: int,
    *,
    disk: float | None = None,
    run: Run = run_apart,
    on_step: OnStep | None = None,
) -> BudgetRun:
    """Some steps at the options' budget, after one that isn't counted, beside what is predicted for them.

    Args:
        options: with a budget.
        expected: of the same model and weights; its source stays open.
        size: of a step.
        steps: that count.
        disk: bytes a second of an emulated storage, of which nothing stays in the page cache; None: the real one's.
        run: the steps.
        on_step: told each step's number, from 1, and seconds.

    Raises:
        PartBudgetError: the budget can't work.
    """
    done = run(Job(options, size, 1 + steps, disk), on_step)
    machine = expected.machine if disk is None else replace(expected.machine, disk=disk)
    budget = done.settings.vram_budget_nbytes
    outlook = replace(expected, settings=done.settings, machine=machine).at(budget)
    speeds = Speeds(machine.link, disk, max(1, min(machine.workers, machine.cores)))
    found = limits(expected.compute.seconds, done.steps.typical.work, speeds)
    return BudgetRun(budget, outlook, done.steps, found)


def _of_budget(on_step: Callable[[int, int, float], None], budget: int) -> OnStep:
    return lambda number, seconds: on_step(budget, number, seconds)


def _text(budget: int) -> str:
    return "unlimited" if budget >= UNLIMITED else smallest_size_text(budget)
