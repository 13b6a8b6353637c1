"""Streamed steps in a process of their own: the memory that the system counts for it is theirs, and nobody else's."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from lzr2.errors import Lzr2Error
from streamer.bench.pace import Pace
from streamer.bench.step_inputs import step_inputs
from streamer.bench.step_size import StepSize
from streamer.bench.streamed_steps import StreamedSteps, streamed_steps
from streamer.bench.throttle import ThrottledSource
from streamer.config import StreamSettings
from streamer.errors import BenchProcessError, StreamerError
from streamer.models.open import PipelineOptions, open_unet
from streamer.models.unet import stream_unet

OnStep = Callable[[int, float], None]
_LISTEN_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """Steps to run.

    Attributes:
        options: model, weights, device and budget.
        size: of a step.
        steps: how many.
        disk: bytes a second of an emulated storage, of which nothing stays in the page cache; None: the real one's.
    """

    options: PipelineOptions
    size: StepSize
    steps: int
    disk: float | None = None


@dataclass(frozen=True)
class Done:
    """What came of it.

    Attributes:
        settings: that the steps ran with; the budget is that of everything.
        steps: what was measured.
    """

    settings: StreamSettings
    steps: StreamedSteps


def run_here(job: Job, on_step: OnStep | None = None) -> Done:
    """Runs the steps in this process.

    Args:
        job: to do.
        on_step: told each step's number, from 1, and seconds.
    """
    opened = open_unet(job.options, _nothing, _nothing, with_rest=False)
    settings, source = opened.settings, opened.source
    if job.disk is not None:
        settings = replace(settings, page_cache_nbytes=0)
        source = ThrottledSource(source, Pace(job.disk))
    for_weights = replace(settings, vram_budget_nbytes=settings.vram_budget_nbytes - job.size.beside_nbytes)
    arguments = step_inputs(dict(opened.unet.config), job.size.shape, opened.device, opened.dtype)
    with stream_unet(opened.unet, source, for_weights, opened.device, opened.dtype) as handle:
        return Done(settings, streamed_steps(opened.unet, handle, arguments, job.steps, on_step))


def run_apart(job: Job, on_step: OnStep | None = None) -> Done:
    """Runs the steps in a new process, which ends with them; starting it takes some seconds.

    Args:
        job: to do.
        on_step: told each step's number, from 1, and seconds.

    Raises:
        BenchProcessError: it ended before its steps did.
    """
    spawning = multiprocessing.get_context("spawn")  # a fork would start with what this process has
    ours, theirs = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_child, args=(job, theirs), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    try:
        while True:
            try:
                # In pieces: elsewhere than on Linux, Ctrl-C isn't heard in a long wait.
                while not ours.poll(_LISTEN_SECONDS):
                    pass
                told = ours.recv()
            except (EOFError, OSError):  # its end, or its end within a message
                process.join()
                raise BenchProcessError(_ended(process.exitcode)) from None
            if isinstance(told, Done):
                return told
            if isinstance(told, str):
                raise BenchProcessError(told)
            if on_step is not None:
                on_step(*told)
    finally:
        process.terminate()
        process.join()
        ours.close()


def _child(job: Job, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this one, and says so
    try:
        pipe.send(run_here(job, lambda number, seconds: pipe.send((number, seconds))))
    except (StreamerError, Lzr2Error, OSError, RuntimeError, MemoryError) as error:
        pipe.send(f"{type(error).__name__}: {error}")


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"ended by {name}" + (", as the system does when memory runs out" if name == "SIGKILL" else "")
    return f"ended with code {code}"


def _nothing(_: object) -> None:
    """The process that asks has been told."""
