"""From what was seen of each child to one row for each runtime."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.compare.runtimes import Runtime
from benchmarks.compare.watch import Watched, most


@dataclass(frozen=True)
class Spread:
    """A median, and the least and the most."""

    median: float
    low: float
    high: float


_SPREADS = (
    "step_seconds",
    "against_resident",
    "first_step_seconds",
    "ready_seconds",
    "cold_step_seconds",
    "cold_against_resident",
)


@dataclass(frozen=True)
class Row:
    """One runtime over all rounds.

    Attributes:
        name: of the runtime.
        kind: of the runtime.
        step_seconds: steps but each process's first.
        against_resident: the median step of a process by the resident one's, the mean of its turns before and after.
        first_step_seconds: from the start of the process to the end of its first step.
        ready_seconds: from the start of the process until it could begin a step.
        peak_nbytes: most bytes resident, pages of files included; None, as those below, if the system doesn't tell.
        own_nbytes: most bytes resident without pages of files.
        steps_peak_nbytes: most bytes resident once it was ready.
        device_nbytes: most bytes on the device; None where the processor computes.
        cached_nbytes: of its files in the page cache after the steps; None if unknown.
        read_nbytes: from storage in a counted step.
        cold_step_seconds: steps before which all of its files left the page cache for sure; None without any.
        cold_against_resident: the median one of a process by the resident one's other steps, as `against_resident`.
        cold_read_nbytes: from storage in such a step.
        equal: every step of every round gave what the same weights loaded whole gave, bit for bit, and finite; None if
            unknown.
        largest_difference: from that result, by its largest value: rounding is 1e-6, something wrong is 1.
        rounds: that ran to their end.
    """

    name: str
    kind: str
    step_seconds: Spread
    against_resident: Spread | None
    first_step_seconds: Spread
    ready_seconds: Spread
    peak_nbytes: int | None
    own_nbytes: int | None
    steps_peak_nbytes: int | None
    device_nbytes: int | None
    cached_nbytes: int | None
    read_nbytes: float | None
    cold_step_seconds: Spread | None
    cold_against_resident: Spread | None
    cold_read_nbytes: float | None
    equal: bool | None
    largest_difference: float | None
    rounds: int

    def to_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Row:
        """What `to_json` was given."""
        return cls(**{**told, **{key: Spread(**told[key]) for key in _SPREADS if told[key] is not None}})


def peak_of(row: Row, on_device: bool) -> int | None:
    """The most memory of the device that computed, or of the process; None if that isn't known.

    Args:
        row: of a comparison.
        on_device: a device with memory of its own computed.
    """
    return row.device_nbytes if on_device else row.peak_nbytes


def run_record(runtime: Runtime, round_: int, seen: Watched, cached_at_start: int | None = None) -> dict[str, Any]:
    """What is kept of one child, as JSON.

    Args:
        runtime: that it ran.
        round_: from zero.
        seen: of it.
        cached_at_start: bytes of its files in the page cache when it was started; None if unknown.
    """
    first, ready, stepped = seen.first("step"), seen.first("ready"), seen.first("stepped")
    return {
        "name": runtime.name,
        "round": round_,
        "reason": seen.reason,
        "cached_at_start_nbytes": cached_at_start,
        "stolen_seconds": seen.stolen_seconds,
        "ready_seconds": ready["at"] if ready else None,
        "first_step_seconds": first["at"] if first else None,
        "steps": [_step(mark) for mark in seen.all("step")],
        "cold_steps": [_step(mark) for mark in seen.all("cold step")],
        "peak_load_nbytes": seen.peak_load_nbytes,
        "peak_steps_nbytes": seen.peak_steps_nbytes,
        "own_load_nbytes": seen.own_load_nbytes,
        "own_steps_nbytes": seen.own_steps_nbytes,
        "device_nbytes": seen.device_nbytes,
        "allocator_peak_nbytes": stepped["allocator_peak"] if stepped else None,
        "cached_nbytes": stepped["cached"] if stepped else None,
        "largest_difference": stepped["difference"] if stepped else None,
        "threads": ready["threads"] if ready else None,
    }


def _step(mark: Mapping[str, Any]) -> dict[str, Any]:
    return {key: mark[key] for key in ("seconds", "read", "digest", "finite", "cached") if key in mark}


def rows(runtimes: Iterable[Runtime], records: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One for each runtime of which at least one child ran to its end; the reference isn't shown.

    Args:
        runtimes: in the order to show them.
        records: of `run_record`.

    Raises:
        ValueError: a record is of none of these runtimes.
    """
    whole = [record for record in records if not record["reason"]]
    runtimes = list(runtimes)
    is_resident = [_runtime(runtimes, record).kind == "resident" for record in whole]
    digests = {
        runtime.weights: _digests(own)
        for runtime in runtimes
        if runtime.kind in ("resident", "reference") and (own := [r for r in whole if r["name"] == runtime.name])
    }
    found = []
    for runtime in runtimes:
        places = [n for n, record in enumerate(whole) if record["name"] == runtime.name]
        if places and runtime.kind != "reference":
            beside = [_resident_beside(whole, is_resident, n) for n in places]
            found.append(_row(runtime, [whole[n] for n in places], beside, digests.get(runtime.weights)))
    return found


def turns_since(runtime: Runtime, records: Sequence[Mapping[str, Any]]) -> int:
    """How many children ran to their end since this runtime's last one."""
    turns = 0
    for record in reversed(records):
        if record["name"] == runtime.name:
            break
        turns += not record["reason"]
    return turns


def _resident_beside(records: Sequence[Mapping[str, Any]], is_resident: Sequence[bool], place: int) -> float | None:
    """The mean of the resident ones' median steps just before and after the record; None without any."""
    before = next((n for n in range(place, -1, -1) if is_resident[n]), None)
    after = next((n for n in range(place, len(records)) if is_resident[n]), None)
    beside = [_median_step(records[n]) for n in (before, after) if n is not None]
    return statistics.mean(beside) if beside else None


def not_run(runtimes: Iterable[Runtime], records: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Name and reason of each runtime of which a child didn't run to its end; of some of several, how many."""
    found = []
    for runtime in runtimes:
        own = [record for record in records if record["name"] == runtime.name]
        failed = [record for record in own if record["reason"]]
        if failed:
            some = f"in {len(failed)} of {len(own)} turns: " if len(failed) < len(own) else ""
            found.append({"name": runtime.name, "reason": some + failed[-1]["reason"]})
    return found


def _runtime(runtimes: Sequence[Runtime], record: Mapping[str, Any]) -> Runtime:
    found = next((runtime for runtime in runtimes if runtime.name == record["name"]), None)
    if found is None:
        raise ValueError(f"there is no runtime {record['name']!r}")
    return found


def _row(
    runtime: Runtime,
    own: Sequence[Mapping[str, Any]],
    beside: Sequence[float | None],
    expected: frozenset[str] | None,
) -> Row:
    counted = [step for record in own for step in _counted(record)]
    cold = [step for record in own for step in _cold(record)]
    cached = [record["cached_nbytes"] for record in own if record["cached_nbytes"] is not None]
    differences = [record["largest_difference"] for record in own if record["largest_difference"] is not None]
    device = [record["device_nbytes"] for record in own if record["device_nbytes"] is not None]
    turns = [(record, resident) for record, resident in zip(own, beside, strict=True) if resident is not None]
    ratios = [_median_step(record) / resident for record, resident in turns]
    cold_ratios = [
        statistics.median(step["seconds"] for step in _cold(record)) / resident
        for record, resident in turns
        if _cold(record)
    ]
    return Row(
        name=runtime.name,
        kind=runtime.kind,
        step_seconds=_spread([step["seconds"] for step in counted]),
        against_resident=_spread(ratios) if ratios else None,
        first_step_seconds=_spread([record["first_step_seconds"] for record in own]),
        ready_seconds=_spread([record["ready_seconds"] for record in own]),
        peak_nbytes=most(*(record[key] for record in own for key in ("peak_load_nbytes", "peak_steps_nbytes"))),
        own_nbytes=most(*(record[key] for record in own for key in ("own_load_nbytes", "own_steps_nbytes"))),
        steps_peak_nbytes=most(*(record["peak_steps_nbytes"] for record in own)),
        device_nbytes=max(device) if device else None,
        cached_nbytes=max(cached) if cached else None,
        read_nbytes=_median_read(counted),
        cold_step_seconds=_spread([step["seconds"] for step in cold]) if cold else None,
        cold_against_resident=_spread(cold_ratios) if cold_ratios else None,
        cold_read_nbytes=_median_read(cold),
        equal=None if expected is None else len(expected) == 1 and _digests(own) == expected and _finite(own),
        largest_difference=max(differences) if differences else None,
        rounds=len(own),
    )


def _counted(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All steps but the first; of a single one, that."""
    return list(record["steps"][1:] or record["steps"])


def _cold(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Steps before which nothing of the files was left in the page cache, for sure."""
    return [step for step in record["cold_steps"] if step["cached"] == 0]


def _median_step(record: Mapping[str, Any]) -> float:
    return float(statistics.median(step["seconds"] for step in _counted(record)))


def _median_read(steps: Sequence[Mapping[str, Any]]) -> float | None:
    read = [step["read"]["read_bytes"] for step in steps if "read_bytes" in step["read"]]
    return statistics.median(read) if read else None


def _digests(own: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(step["digest"] for record in own for step in [*record["steps"], *record["cold_steps"]])


def _finite(own: Sequence[Mapping[str, Any]]) -> bool:
    return all(step["finite"] for record in own for step in [*record["steps"], *record["cold_steps"]])


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))
