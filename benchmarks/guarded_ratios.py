"""How each guarded ratio is measured: both sides in turn, results compared first, medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lzr2
from benchmarks.format import cases
from benchmarks.runtime.slow_tower import slow_towers
from benchmarks.runtime.small_unet import SmallUnet
from streamer.bench import plain_decode

Run = Callable[[], object]
Clock = Callable[[], float]


def by_turns(run: Run, reference: Run, clock: Clock, rounds: int = 4) -> float:
    """The median over rounds of one's seconds by the other's, in turn; each has run before.

    Args:
        run: what is guarded.
        reference: what it is compared with.
        clock: of seconds. `time.process_time` counts what this process's threads worked, however busy the machine is.
        rounds: of one of each.
    """
    return statistics.median(_seconds(run, clock) / _seconds(reference, clock) for _ in range(rounds))


def _seconds(run: Run, clock: Clock) -> float:
    began = clock()
    run()
    return clock() - began


class Ratios:
    """Measures ratios by name. Makes what it needs when it is first needed; a context manager.

    Args:
        folder: for files.
        workers: threads that read ahead.
    """

    def __init__(self, folder: Path, workers: int = 1) -> None:
        self._folder = folder
        self._workers = workers
        self._stack = ExitStack()

    def __enter__(self) -> Ratios:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self, names: Collection[str]) -> Mapping[str, float]:
        """The ratios of these names that there are."""
        every: dict[str, Callable[[], float]] = {
            "decode lattice-heavy": lambda: self._decode("lattice", inflated=False),
            "decode overlay-heavy": lambda: self._decode("overlay", inflated=False),
            "decode inflated": lambda: self._decode("lattice", inflated=True),
            "index bytes": self._index_bytes,
            "stream lattice-heavy": lambda: self._stream("lzr2"),
            "stream safetensors": lambda: self._stream("safetensors"),
            "stream all resident": lambda: self._stream("all resident"),
            "overlap": self._overlap,
        }
        return {name: ratio() for name, ratio in every.items() if name in names}

    @cached_property
    def _paths(self) -> dict[str, Path]:
        shares = {"lattice": cases.LATTICE_HEAVY, "overlay": cases.OVERLAY_HEAVY}
        return {kind: cases.write(self._folder / f"{kind}.lzr2", share, copies=1) for kind, share in shares.items()}

    @cached_property
    def _unet(self) -> SmallUnet:
        return SmallUnet(self._folder)

    def _decode(self, kind: str, *, inflated: bool) -> float:
        """One tensor on one thread by plain numpy."""
        path = self._paths[kind]
        data = memoryview(path.read_bytes())
        out = np.empty(cases.OUTPUT_NBYTES // 2, np.float16)
        with lzr2.open(path, sidecar=False) as file:
            info = file.record("t0")
            held = file.read_inflated("t0")

            def run() -> None:
                if inflated:
                    lzr2.decode_inflated_into(held, out)
                else:
                    file.decode_into("t0", out)

            run()
            _require_equal(out, plain_decode.decode(data, info).reshape(-1))
            return by_turns(run, lambda: plain_decode.decode(data, info), time.process_time, rounds=3)

    def _index_bytes(self) -> float:
        """Bytes read to index the small U-Net's file by the file's."""
        index = lzr2.Index.build(self._unet.lzr2)
        if index.by_key.keys() != set(self._unet.shapes):
            raise AssertionError("the index doesn't name the U-Net's tensors")
        return index.bytes_read / index.file_nbytes

    def _stream(self, how: str) -> float:
        """Work in a step of the small U-Net streamed by that of the same weights loaded whole; one thread computes."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with self._unet.streamed(how) as (unet, resident, arguments):
                _require_equal(_result(unet, arguments), _result(resident, arguments))
                return by_turns(
                    lambda: _result(unet, arguments), lambda: _result(resident, arguments), time.process_time
                )
        finally:
            torch.set_num_threads(threads)

    def _overlap(self) -> float:
        """Seconds of a step whose reading can hide behind its computing, by the resident one's."""
        with slow_towers(self._folder, self._workers) as (streamed, resident, x), torch.no_grad():
            _require_equal(streamed(x).numpy(), resident(x).numpy())
            return by_turns(lambda: streamed(x), lambda: resident(x), time.perf_counter)


def _result(unet: Any, arguments: dict[str, Any]) -> np.ndarray:
    with torch.no_grad():
        result: np.ndarray = unet(**arguments).sample.numpy()
    return result


def _require_equal(one: np.ndarray, other: np.ndarray) -> None:
    if one.tobytes() != other.tobytes():
        raise AssertionError("what is measured gives another result than its reference")


@contextmanager
def measured_in(folder: Path) -> Iterator[Callable[[Collection[str]], Mapping[str, float]]]:
    """Measures as `benchmarks.guard` asks for.

    Args:
        folder: for files of 200 MB.
    """
    with Ratios(folder) as ratios:
        yield ratios.measure
