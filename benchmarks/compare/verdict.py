"""Whether the goals are met by these rows; each answer names the rows that it rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.compare.summary import Row, Spread, peak_of

LESS_MEMORY, MOST_TIME = 4.0, 1.15


@dataclass(frozen=True)
class Verdict:
    """One goal.

    Attributes:
        goal: in words.
        met: whether it is, by medians; None if these rows can't tell.
        in_every_turn: whether it is met by the least favourable turns too, not by medians alone.
        why: what it rests on.
    """

    goal: str
    met: bool | None
    in_every_turn: bool
    why: str


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Of all goals, over this project's rows.

    Being faster and being equal must hold for all of them; little memory and an early first step for at least one from
    each kind of file, and all together for at least one.
    """
    ours = [row for row in rows if row.kind == "this project"]
    files = dict.fromkeys(map(_file_of, ours)) or {"any file": None}
    return [
        _faster_than_peers(rows),
        *(_little_memory(rows, file) for file in files),
        *(_first_step(rows, file) for file in files),
        _all_at_once(rows),
        _equal(rows),
    ]


def _file_of(row: Row) -> str:
    """The kind of file that it streams from, which is the second part of its name."""
    return row.name.split(", ")[1]


def _kinds(rows: Sequence[Row]) -> tuple[list[Row], list[Row], list[Row]]:
    ours = [row for row in rows if row.kind == "this project"]
    peers = [row for row in rows if row.kind == "peer"]
    return ours, peers, [row for row in rows if row.kind == "resident"]


def _time(row: Row) -> Spread:
    """Against the resident turns beside it, where there are any: machines that others use too change meanwhile."""
    return row.step_seconds if row.against_resident is None else row.against_resident


def _times(row: Row) -> str:
    spread = _time(row)
    unit = "s a step" if row.against_resident is None else "times resident"
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f}) {unit} in {_gigabytes(peak_of(row))}"


def _gigabytes(nbytes: int | None) -> str:
    return "unknown memory" if nbytes is None else f"{nbytes / 1e9:.3g} GB"


def _counts(row: Row) -> list[int | None]:
    """Memory by every count: of the device where there is one, else with and without pages of files, which the system
    could take back."""
    return [row.peak_nbytes, row.own_nbytes] if row.device_nbytes is None else [row.device_nbytes]


def _is_as_small(peer: Row, row: Row) -> bool:
    """By any count."""
    pairs = zip(_counts(peer), _counts(row), strict=False)
    return any(a is not None and b is not None and a <= b for a, b in pairs)


def _faster_than_peers(rows: Sequence[Row]) -> Verdict:
    goal = "every row of this project is faster than every offload peer that uses at most as much memory"
    ours, peers, _ = _kinds(rows)
    if not ours or not peers or any(None in _counts(row) for row in [*ours, *peers]):
        return Verdict(goal, None, False, "rows, or their memory, are missing")
    pairs = [(peer, row) for row in ours for peer in peers if _is_as_small(peer, row)]
    beaten = [(peer, row) for peer, row in pairs if _is_as_fast(peer, row)]
    apart = all(_time(row).high < _time(peer).low for peer, row in pairs)
    if beaten:
        told = [f"{peer.name}: {_times(peer)}, {row.name}: {_times(row)}" for peer, row in beaten]
        return Verdict(goal, False, False, "; ".join(told))
    small = {peer.name for peer, _ in pairs}
    told = [f"{len(small)} of {len(peers)} peers use at most as much as some row", *_faster_but_larger(ours, peers)]
    return Verdict(goal, True, apart, "; ".join(told))


def _is_as_fast(peer: Row, row: Row) -> bool:
    return _time(peer).median <= _time(row).median


def _faster_but_larger(ours: Sequence[Row], peers: Sequence[Row]) -> list[str]:
    """Those that the goal leaves out: a user who has the memory would pick them."""
    found = []
    for peer in peers:
        slower = [row.name for row in ours if _is_as_fast(peer, row) and not _is_as_small(peer, row)]
        if slower:
            which = slower[0] if len(slower) == 1 else f"{len(slower)} of {len(ours)} rows"
            found.append(f"faster than {which}, with more memory: {peer.name}, {_times(peer)}")
    return found


def _little_memory(rows: Sequence[Row], file: str) -> Verdict:
    goal = f"{file}: at least {LESS_MEMORY:.0f} times less peak memory than resident, at most {MOST_TIME} x its time"
    ours, _, residents = _kinds(rows)
    ours = [row for row in ours if _file_of(row) == file]
    if not ours or not residents or any(None in _counts(row) for row in [*ours, residents[0]]):
        return Verdict(goal, None, False, "rows, or their memory, are missing")
    shown = []
    for row in ours:
        less = f"{_times_less(residents[0], row):.1f} times less"
        cold = row.cold_against_resident
        without = "" if cold is None else f" ({cold.median:.2f} with none)"
        cached = f", and {_gigabytes(row.cached_nbytes)} of files in the page cache" if row.cached_nbytes else ""
        shown.append(f"{row.name}: {less}{cached}{without}, {_times(row)}")
    met, sure = (any(_is_little(residents[0], row, of) for row in ours) for of in (_median, _worst))
    return Verdict(goal, met, sure, "; ".join(shown))


def _median(spread: Spread) -> float:
    return spread.median


def _worst(spread: Spread) -> float:
    return spread.high


def _is_little(resident: Row, row: Row, of: Callable[[Spread], float]) -> bool:
    compared = row.against_resident
    return compared is not None and _times_less(resident, row) >= LESS_MEMORY and of(compared) <= MOST_TIME


def _times_less(resident: Row, row: Row) -> float:
    """By the count that favours it least; 0 where it isn't known."""
    pairs = zip(_counts(resident), _counts(row), strict=False)
    return min((a / max(1, b) if a is not None and b is not None else 0.0 for a, b in pairs), default=0.0)


def _first_step(rows: Sequence[Row], file: str) -> Verdict:
    goal = f"{file}: the first step is done before any peer has loaded its model"
    ours, peers, _ = _kinds(rows)
    ours = [row for row in ours if _file_of(row) == file]
    if not ours or not peers:
        return Verdict(goal, None, False, "rows are missing")
    earliest = min(peers, key=lambda row: row.ready_seconds.median)
    first = min(ours, key=lambda row: row.first_step_seconds.median)
    early = [row for row in ours if _is_early(row, peers, _median)]
    why = (
        f"{len(early)} of {len(ours)} rows; the earliest, {first.name}: after {_seconds(first.first_step_seconds)}; "
        f"{earliest.name} had loaded after {_seconds(earliest.ready_seconds)}"
    )
    return Verdict(goal, bool(early), any(_is_early(row, peers, _worst) for row in ours), why)


def _seconds(spread: Spread) -> str:
    return f"{spread.median:.1f} s ({spread.low:.1f} to {spread.high:.1f})"


def _is_early(row: Row, peers: Sequence[Row], of: Callable[[Spread], float]) -> bool:
    loaded = min(peer.ready_seconds.low if of is _worst else peer.ready_seconds.median for peer in peers)
    return of(row.first_step_seconds) < loaded


def _all_at_once(rows: Sequence[Row]) -> Verdict:
    goal = "one row has all three: little memory in little time, an early first step, and no smaller peer as fast"
    ours, peers, residents = _kinds(rows)
    if not ours or not peers or not residents or any(None in _counts(row) for row in rows):
        return Verdict(goal, None, False, "rows, or their memory, are missing")

    def has_all(row: Row, of: Callable[[Spread], float]) -> bool:
        beaten = any(_is_as_small(peer, row) and _is_as_fast(peer, row) for peer in peers)
        return not beaten and _is_little(residents[0], row, of) and _is_early(row, peers, of)

    met = [row.name for row in ours if has_all(row, _median)]
    sure = any(has_all(row, _worst) for row in ours)
    return Verdict(goal, bool(met), sure, "; ".join(met) or f"none of {len(ours)} rows")


def _equal(rows: Sequence[Row]) -> Verdict:
    goal = "all results of this project equal those of the weights loaded whole, bit for bit"
    ours, _, _ = _kinds(rows)
    if not ours or any(row.equal is None for row in ours):
        return Verdict(goal, None, False, "rows are missing")
    differing = [row.name for row in ours if not row.equal]
    return Verdict(goal, not differing, not differing, "; ".join(differing) or f"{len(ours)} rows")
