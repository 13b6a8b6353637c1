"""Whether the goals are met by these rows; each answer names the rows that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.compare.runtimes import FIRST_START, LAYERWISE
from benchmarks.compare.summary import Row, Spread, peak_of

LESS_MEMORY, MOST_TIME = 4.0, 1.15


@dataclass(frozen=True)
class Verdict:
    """One goal.

    Attributes:
        goal: in words.
        met: whether it is, by median times; None if these rows can't tell.
        in_every_turn: whether it is met too if each runtime's time is that of its turn that suits this project least.
            (Memory is always the most of all turns.)
        why: what it rests on.
    """

    goal: str
    met: bool | None
    in_every_turn: bool
    why: str


def verdicts(rows: Sequence[Row], on_device: bool) -> list[Verdict]:
    """Of all goals, over this project's rows.

    Being faster and being equal must hold for all of them; little memory and an early first step for at least one from
    each kind of file, and all together for at least one. A machine's first start is judged apart.

    Args:
        rows: of the comparison.
        on_device: a device with memory of its own computed: that memory counts.
    """
    compared = _Compared(rows, on_device)
    files = dict.fromkeys(_file_of(row) for row in compared.usual) or {"any file": None}
    return [
        compared.faster_than_peers(),
        *(compared.little_memory(file, [row for row in compared.usual if _file_of(row) == file]) for file in files),
        *(compared.first_step(file, [row for row in compared.usual if _file_of(row) == file]) for file in files),
        *(compared.first_step(row.name, [row]) for row in compared.ours if row not in compared.usual),
        compared.all_at_once(),
        compared.equal(),
    ]


def _file_of(row: Row) -> str:
    """The kind of file that it streams from, which is the second part of its name."""
    return row.name.split(", ")[1]


def _time(row: Row) -> Spread:
    """Against the resident turns beside it, where there are any: machines that others use too change meanwhile."""
    return row.step_seconds if row.against_resident is None else row.against_resident


def _of_ours(spread: Spread, worst: bool) -> float:
    return spread.high if worst else spread.median


def _of_others(spread: Spread, worst: bool) -> float:
    return spread.low if worst else spread.median


def _is_as_fast(peer: Row, row: Row, worst: bool = False) -> bool:
    return _of_others(_time(peer), worst) <= _of_ours(_time(row), worst)


def _gigabytes(nbytes: int | None) -> str:
    return "unknown memory" if nbytes is None else f"{nbytes / 1e9:.3g} GB"


def _seconds(spread: Spread) -> str:
    return f"{spread.median:.1f} s ({spread.low:.1f} to {spread.high:.1f})"


class _Compared:
    """Rows by who they are of, and how their memory compares."""

    def __init__(self, rows: Sequence[Row], on_device: bool) -> None:
        self.on_device = on_device
        self.ours = [row for row in rows if row.kind == "this project"]
        self.usual = [row for row in self.ours if not row.name.endswith(FIRST_START)]
        self.peers = [row for row in rows if row.kind == "peer"]
        self.offloading = [row for row in self.peers if LAYERWISE not in row.name]
        self.residents = [row for row in rows if row.kind == "resident"]

    def _counts(self, row: Row) -> list[int]:
        """Memory by every count that is known: of the device that computed, else with and without pages of files, which
        the system could take back."""
        known = [row.device_nbytes] if self.on_device else [row.peak_nbytes, row.own_nbytes]
        return [nbytes for nbytes in known if nbytes is not None]

    def _all_known(self, *groups: Sequence[Row]) -> bool:
        n = 1 if self.on_device else 2
        return all(group and all(len(self._counts(row)) == n for row in group) for group in groups)

    def _is_as_small(self, peer: Row, row: Row) -> bool:
        """By any count."""
        return any(a <= b for a, b in zip(self._counts(peer), self._counts(row), strict=True))

    def _times_less(self, row: Row) -> float:
        """Than resident, by the count that favours the row least."""
        pairs = zip(self._counts(self.residents[0]), self._counts(row), strict=True)
        return min(a / max(1, b) for a, b in pairs)

    def _times(self, row: Row) -> str:
        spread = _time(row)
        unit = "s a step" if row.against_resident is None else "times resident"
        shown = f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f}) {unit}"
        return f"{shown} in {_gigabytes(peak_of(row, self.on_device))}"

    def _is_beaten(self, row: Row, worst: bool = False) -> bool:
        return any(self._is_as_small(peer, row) and _is_as_fast(peer, row, worst) for peer in self.peers)

    def faster_than_peers(self) -> Verdict:
        goal = "every row of this project is faster than every offload peer that uses at most as much memory"
        if not self._all_known(self.ours, self.peers):
            return Verdict(goal, None, False, "rows, or their memory, are missing")
        pairs = [(peer, row) for row in self.ours for peer in self.peers if self._is_as_small(peer, row)]
        beaten = [(peer, row) for peer, row in pairs if _is_as_fast(peer, row)]
        if beaten:
            told = [f"{peer.name}: {self._times(peer)}, {row.name}: {self._times(row)}" for peer, row in beaten]
            return Verdict(goal, False, False, "; ".join(told))
        small = ", ".join(dict.fromkeys(peer.name for peer, _ in pairs)) or "none"
        told = [f"at most as much as some row, of {len(self.peers)} peers: {small}", *self._faster_but_larger()]
        sure = bool(pairs) and not any(self._is_beaten(row, worst=True) for row in self.ours)
        return Verdict(goal, True if pairs else None, sure, "; ".join(told))

    def _faster_but_larger(self) -> list[str]:
        """Those that the goal leaves out: a user who has the memory would pick them."""
        found = []
        for peer in self.peers:
            slower = [row for row in self.ours if _is_as_fast(peer, row) and not self._is_as_small(peer, row)]
            if slower:
                which = slower[0].name if len(slower) == 1 else f"{len(slower)} of {len(self.ours)} rows"
                found.append(f"faster than {which}, with more memory: {peer.name}, {self._times(peer)}")
        return found

    def little_memory(self, file: str, own: Sequence[Row]) -> Verdict:
        less = f"at least {LESS_MEMORY:.0f} times less peak memory than resident"
        goal = f"{file}: {less}, at most {MOST_TIME} times its time"
        if not self._all_known(own, self.residents):
            return Verdict(goal, None, False, "rows, or their memory, are missing")
        shown = []
        for row in own:
            cold = row.cold_against_resident
            without = "" if cold is None else f" ({cold.median:.2f} with none)"
            cached = f", and {_gigabytes(row.cached_nbytes)} of files in the page cache" if row.cached_nbytes else ""
            shown.append(f"{row.name}: {self._times_less(row):.1f} times less{cached}{without}, {self._times(row)}")
        met, sure = (any(self._is_little(row, worst) for row in own) for worst in (False, True))
        return Verdict(goal, met, sure, "; ".join(shown))

    def _is_little(self, row: Row, worst: bool = False) -> bool:
        compared = row.against_resident
        in_time = compared is not None and _of_ours(compared, worst) <= MOST_TIME
        return in_time and self._times_less(row) >= LESS_MEMORY

    def first_step(self, what: str, own: Sequence[Row]) -> Verdict:
        goal = f"{what}: the first step is done before any offload peer has loaded its model"
        if not own or not self.offloading:
            return Verdict(goal, None, False, "rows are missing")
        earliest = min(self.offloading, key=lambda row: row.ready_seconds.median)
        first = min(own, key=lambda row: row.first_step_seconds.median)
        early = [row for row in own if self._is_early(row)]
        why = (
            f"{len(early)} of {len(own)}; the earliest, {first.name}: after {_seconds(first.first_step_seconds)}; "
            f"{earliest.name} had loaded after {_seconds(earliest.ready_seconds)}"
        )
        for peer in self.peers:
            if peer not in self.offloading and peer.ready_seconds.median <= first.first_step_seconds.median:
                why += f"; {peer.name}, which offloads nothing, had after {_seconds(peer.ready_seconds)}"
        return Verdict(goal, bool(early), any(self._is_early(row, worst=True) for row in own), why)

    def _is_early(self, row: Row, worst: bool = False) -> bool:
        loaded = min(_of_others(peer.ready_seconds, worst) for peer in self.offloading)
        return _of_ours(row.first_step_seconds, worst) < loaded

    def all_at_once(self) -> Verdict:
        goal = "one row has all three: little memory in little time, an early first step, and no smaller peer as fast"
        if not self._all_known(self.ours, self.offloading, self.residents):
            return Verdict(goal, None, False, "rows, or their memory, are missing")

        def has_all(row: Row, worst: bool = False) -> bool:
            return self._is_little(row, worst) and self._is_early(row, worst) and not self._is_beaten(row, worst)

        met = [row.name for row in self.usual if has_all(row)]
        sure = any(has_all(row, worst=True) for row in self.usual)
        return Verdict(goal, bool(met), sure, "; ".join(met) or f"none of {len(self.usual)} rows")

    def equal(self) -> Verdict:
        goal = "all results of this project equal those of the weights loaded whole, bit for bit"
        if not self.ours or any(row.equal is None for row in self.ours):
            return Verdict(goal, None, False, "rows are missing")
        differing = [row.name for row in self.ours if not row.equal]
        return Verdict(goal, not differing, not differing, "; ".join(differing) or f"{len(self.ours)} rows")
