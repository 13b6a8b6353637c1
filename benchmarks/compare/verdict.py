"""Whether the goals are met by these rows; each answer names the rows that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.compare.summary import Row

LESS_MEMORY, MOST_TIME = 4.0, 1.15


@dataclass(frozen=True)
class Verdict:
    """One goal.

    Attributes:
        goal: in words.
        met: whether it is; None if these rows can't tell.
        why: what it rests on.
    """

    goal: str
    met: bool | None
    why: str


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Of all goals, over this project's rows.

    Memory with its time, and the first step, must be met by at least one of them, the others by all.
    """
    return [_faster_than_peers(rows), _little_memory(rows), _first_step(rows), _equal(rows)]


def _memory(row: Row) -> int:
    """Of the device where there is one, else of the process."""
    return row.peak_nbytes if row.device_nbytes is None else row.device_nbytes


def _kinds(rows: Sequence[Row]) -> tuple[list[Row], list[Row], list[Row]]:
    ours = [row for row in rows if row.kind == "this project"]
    peers = [row for row in rows if row.kind == "peer"]
    return ours, peers, [row for row in rows if row.kind == "resident"]


def _faster_than_peers(rows: Sequence[Row]) -> Verdict:
    goal = "every row of this project is faster than every offload peer that uses at most as much memory"
    ours, peers, _ = _kinds(rows)
    if not ours or not peers:
        return Verdict(goal, None, "rows are missing")
    beaten = [
        f"{peer.name}: {_times(peer)}, {row.name}: {_times(row)}"
        for row in ours
        for peer in peers
        if _memory(peer) <= _memory(row) and _time(peer) <= _time(row)
    ]
    if beaten:
        return Verdict(goal, False, "; ".join(beaten))
    most = max(map(_memory, ours))
    within = sum(_memory(peer) <= most for peer in peers)
    slowest = max(map(_time, ours))
    faster = [f"{peer.name}, {_times(peer)}" for peer in peers if _memory(peer) > most and _time(peer) <= slowest]
    beside = f"; faster than some row, with more memory than all: {'; '.join(faster)}" if faster else ""
    return Verdict(goal, True, f"{within} of {len(peers)} peers use at most as much as some row{beside}")


def _time(row: Row) -> float:
    """Against the resident turns beside it, where there are any: machines that others use too change meanwhile."""
    return row.step_seconds.median if row.against_resident is None else row.against_resident.median


def _times(row: Row) -> str:
    time = f"{row.step_seconds.median:.3g} s a step"
    if row.against_resident is not None:
        time = f"{row.against_resident.median:.2f} times resident"
    return f"{time} in {_memory(row) / 1e9:.3g} GB"


def _little_memory(rows: Sequence[Row]) -> Verdict:
    goal = f"at least {LESS_MEMORY:.0f} times less peak memory than resident, at most {MOST_TIME} times its time"
    ours, _, residents = _kinds(rows)
    if not ours or not residents:
        return Verdict(goal, None, "rows are missing")
    shown = []
    met = False
    for row in ours:
        if row.against_resident is not None:
            less = min(_times_less(residents[0], row))
            met |= less >= LESS_MEMORY and row.against_resident.median <= MOST_TIME
            shown.append(f"{row.name}: {less:.1f} times less, {row.against_resident.median:.2f} times as long")
    return Verdict(goal, met, "; ".join(shown))


def _times_less(resident: Row, row: Row) -> list[float]:
    """By every count: on a CPU with and without pages of files, which the system could take back."""
    by_count = [_memory(resident) / max(1, _memory(row))]
    if row.device_nbytes is None:
        by_count.append(resident.own_nbytes / max(1, row.own_nbytes))
    return by_count


def _first_step(rows: Sequence[Row]) -> Verdict:
    goal = "the first step is done before any peer has loaded its model"
    ours, peers, _ = _kinds(rows)
    if not ours or not peers:
        return Verdict(goal, None, "rows are missing")
    earliest = min(peers, key=lambda row: row.ready_seconds.median)
    first = min(ours, key=lambda row: row.first_step_seconds.median)
    why = (
        f"{first.name}: first step after {first.first_step_seconds.median:.1f} s; "
        f"{earliest.name}: loaded after {earliest.ready_seconds.median:.1f} s"
    )
    return Verdict(goal, first.first_step_seconds.median < earliest.ready_seconds.median, why)


def _equal(rows: Sequence[Row]) -> Verdict:
    goal = "all results of this project equal those of the weights loaded whole, bit for bit"
    ours, _, _ = _kinds(rows)
    if not ours or any(row.equal is None for row in ours):
        return Verdict(goal, None, "rows are missing")
    differing = [row.name for row in ours if not row.equal]
    return Verdict(goal, not differing, "; ".join(differing) or f"{len(ours)} rows")
