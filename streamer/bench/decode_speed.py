"""How fast a file's own records are decoded: verified first, then timed in each form on one thread and on several."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import lzr2
from streamer.bench.plain_decode import decode as plain_decode
from streamer.errors import SettingError, StreamerError, printable

TO_FLOAT16, TO_FLOAT32 = "file to float16", "file to float32"
INFLATE, EXPAND = "file to inflated", "inflated to float16"
FORMS = (TO_FLOAT16, TO_FLOAT32, INFLATE, EXPAND)
"""From the file to weights, from the file to what host memory keeps, and from there to weights."""

_WHOLE = (TO_FLOAT16, TO_FLOAT32)
_HALF = 2  # bytes of a float16
_PLAIN_ROUNDS = 3  # it is slow

Work = Callable[[str, npt.NDArray[Any]], object]
Told = Callable[[str], None]


class DecodeMismatchError(StreamerError):
    """Other weights came out than the format's plain arithmetic gives; ``key`` and ``form`` say where."""

    def __init__(self, key: str, form: str) -> None:
        super().__init__(
            f"{printable(key)}, {form}: not the weights that the format's plain arithmetic gives.",
            "No speed is worth anything here: check the file with `streamer verify`, and report this.",
        )
        self.key = key
        self.form = form


@dataclass(frozen=True)
class DecodeSpeed:
    """One form on some threads.

    Attributes:
        form: one of `FORMS`.
        threads: at once, each on the next record.
        seconds: of each round over all records.
    """

    form: str
    threads: int
    seconds: tuple[float, ...]

    @property
    def typical(self) -> float:
        """The median round."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class DecodeReport:
    """Of one file.

    Attributes:
        keys: of the records that were decoded.
        records: in the file.
        stored_nbytes: of those records in the file.
        weights: of those records.
        inflated_nbytes: of those records in the form that host memory keeps.
        plain: seconds of plain numpy, on one thread, in each of the first rounds.
        speeds: measured.
    """

    keys: tuple[str, ...]
    records: int
    stored_nbytes: int
    weights: int
    inflated_nbytes: int
    plain: tuple[float, ...]
    speeds: tuple[DecodeSpeed, ...]

    @property
    def plain_seconds(self) -> float:
        """Of plain numpy, on one thread: the median round."""
        return statistics.median(self.plain)

    def output_rate(self, speed: DecodeSpeed) -> float:
        """Bytes of float16 a second that come out, or would, of the inflated form."""
        return _HALF * self.weights / speed.typical

    def stored_rate(self, speed: DecodeSpeed) -> float | None:
        """Bytes of the file a second that this uses up; None: it reads nothing of it."""
        return None if speed.form == EXPAND else self.stored_nbytes / speed.typical

    def against_plain(self, speed: DecodeSpeed) -> float | None:
        """How many times as fast as plain numpy, which does all of the work; None: this does half of it."""
        return self.plain_seconds / speed.typical if speed.form in _WHOLE else None

    def scaling(self, speed: DecodeSpeed) -> float:
        """How many times as fast as the same on one thread."""
        alone = next(one for one in self.speeds if one.form == speed.form and one.threads == 1)
        return alone.typical / speed.typical


def thread_counts(most: int) -> tuple[int, ...]:
    """From 1 to the most: all up to 4, then each twice the one before."""
    counts = {*range(1, min(most, 4) + 1), most}
    more = 8
    while more < most:
        counts.add(more)
        more *= 2
    return tuple(sorted(counts))


def sampled(file: lzr2.Lzr2File, most_nbytes: int) -> tuple[str, ...]:
    """Records evenly spread over the file, at least one, that together are no more than so many bytes as float16 and
    in the file.

    Raises:
        SettingError: there are none.
    """
    sizes = {key: max(_HALF * file.record(key).n_weights, file.record(key).record_nbytes) for key in file.keys()}
    sizes = {key: nbytes for key, nbytes in sizes.items() if file.record(key).n_weights}
    if not sizes:
        raise SettingError(f"{printable(str(file.path))} has no tensor with weights: there is nothing to decode.")
    stride = max(1, -(-sum(sizes.values()) // max(1, most_nbytes)))
    chosen: list[str] = []
    for key in list(sizes)[::stride]:
        if chosen and sizes[key] > most_nbytes:
            continue
        chosen.append(key)
        most_nbytes -= sizes[key]
    return tuple(chosen)


def decode_speed(
    file: lzr2.Lzr2File, most_nbytes: int, threads: Sequence[int], rounds: int, notify: Told
) -> DecodeReport:
    """Verifies every sampled record in every form, bit for bit, then times all forms and plain numpy in turn.

    Memory: the sample as stored and inflated, and its largest record for each thread.

    Args:
        file: open.
        most_nbytes: of the sample.
        threads: numbers of threads to time; with 1.
        rounds: over everything; a round disturbed by others is one of several.
        notify: told what takes time, a line each.

    Raises:
        DecodeMismatchError: a decoder is wrong.
        SettingError: there is nothing to decode.
    """
    keys = sampled(file, most_nbytes)
    notify(f"Verifying {len(keys)} of {len(file)} records ...")
    inflated = {key: file.read_inflated(key) for key in keys}
    stored = _read(file, keys)
    _verify(file, stored, inflated)
    records = [file.record(key) for key in keys]
    largest = max(record.n_weights for record in records)
    work: dict[str, tuple[Work, type[np.floating[Any]]]] = {
        TO_FLOAT16: (file.decode_into, np.float16),
        TO_FLOAT32: (file.decode_into, np.float32),
        INFLATE: (lambda key, _: file.read_inflated(key), np.float16),
        EXPAND: (lambda key, out: lzr2.decode_inflated_into(inflated[key], out), np.float16),
    }
    jobs = [(key, record.n_weights) for key, record in zip(keys, records, strict=True)]
    seconds: dict[tuple[str, int], list[float]] = {(form, n): [] for form in FORMS for n in threads}
    plain: list[float] = []
    with ThreadPoolExecutor(max(threads)) as pool:
        for number in range(1, rounds + 1):
            notify(f"Round {number} of {rounds} ...")
            for (form, n), taken in seconds.items():
                decode, dtype = work[form]
                outs = [np.ones(largest, dtype) for _ in range(n)]  # written: fresh memory is given page by page
                taken.append(_timed(pool, decode, jobs, outs))
            if number <= _PLAIN_ROUNDS:
                out = np.ones(largest, np.float16)
                plain.append(_timed(pool, lambda key, out: plain_decode(*stored[key], out), jobs, [out]))
    return DecodeReport(
        keys=keys,
        records=len(file),
        stored_nbytes=sum(record.record_nbytes for record in records),
        weights=sum(record.n_weights for record in records),
        inflated_nbytes=sum(one.nbytes for one in inflated.values()),
        plain=tuple(plain),
        speeds=tuple(DecodeSpeed(form, n, tuple(taken)) for (form, n), taken in seconds.items()),
    )


def _read(file: lzr2.Lzr2File, keys: Sequence[str]) -> dict[str, tuple[memoryview, lzr2.RecordInfo]]:
    """Each record's bytes, and where its sections are in them."""
    found = {}
    with file.path.open("rb") as opened:
        for key in keys:
            record = file.record(key)
            opened.seek(record.start)
            data = memoryview(opened.read(record.record_nbytes))
            moved = replace(
                record, start=0, payload_start=record.payload_start - record.start, end=record.record_nbytes
            )
            found[key] = data, moved
    return found


def _verify(
    file: lzr2.Lzr2File,
    stored: Mapping[str, tuple[memoryview, lzr2.RecordInfo]],
    inflated: Mapping[str, lzr2.InflatedTensor],
) -> None:
    for key, (data, record) in stored.items():
        half, single, expanded = (np.empty(record.shape, t) for t in (np.float16, np.float32, np.float16))
        file.decode_into(key, half)
        file.decode_into(key, single)
        lzr2.decode_inflated_into(inflated[key], expanded)
        plain = plain_decode(data, record)
        with np.errstate(invalid="ignore"):
            widened = plain.astype(np.float32)
        for form, got, wanted in ((TO_FLOAT16, half, plain), (TO_FLOAT32, single, widened), (EXPAND, expanded, plain)):
            if not _same(got, wanted):
                raise DecodeMismatchError(key, form)


def _same(got: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> bool:
    """Bit for bit; only which of the patterns that aren't numbers may differ."""
    patterns = np.dtype(f"u{got.dtype.itemsize}")
    differ = got.view(patterns) != wanted.view(patterns)
    return bool((np.isnan(got) & np.isnan(wanted))[differ].all())


def _timed(
    pool: ThreadPoolExecutor, work: Work, jobs: Sequence[tuple[str, int]], outs: Sequence[npt.NDArray[Any]]
) -> float:
    rest: Iterator[tuple[str, int]] = iter(jobs)
    lock = threading.Lock()
    started = time.perf_counter()
    for _ in pool.map(partial(_work_while_any, rest, lock, work), outs):
        pass
    return time.perf_counter() - started


def _work_while_any(rest: Iterator[tuple[str, int]], lock: threading.Lock, work: Work, out: npt.NDArray[Any]) -> None:
    while True:
        with lock:
            key, count = next(rest, (None, 0))
        if key is None:
            return
        work(key, out[:count])
