"""A result as Markdown: the whole table, and the short one for the README. Needs nothing but Python."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.compare.summary import Row, Spread

Column = tuple[str, Callable[[Row], str]]
UNKNOWN = "–"
_WIDTH = 118  # of a line in the README


def whole_table(result: Mapping[str, Any]) -> str:
    """Every column, what couldn't be run and why, the goals, and how it was measured."""
    rows = [Row.from_json(told) for told in result["rows"]]
    columns: list[Column] = [
        ("seconds a step", lambda row: _seconds(row.step_seconds)),
        ("to resident", lambda row: _ratio(row.against_resident)),
        ("first step after", lambda row: _seconds(row.first_step_seconds)),
        ("loaded after", lambda row: _seconds(row.ready_seconds)),
        ("peak memory", lambda row: size(row.peak_nbytes)),
        ("without pages of files", lambda row: size(row.own_nbytes)),
        ("peak in steps", lambda row: size(row.steps_peak_nbytes)),
        ("peak on the device", lambda row: size(row.device_nbytes)),
        ("its files in the page cache", lambda row: size(row.cached_nbytes)),
        ("read from disk a step", lambda row: size(row.read_nbytes)),
        ("a step with nothing cached", lambda row: _seconds(row.cold_step_seconds)),
        ("that to resident", lambda row: _ratio(row.cold_against_resident)),
        ("read from disk then", lambda row: size(row.cold_read_nbytes)),
        ("equal to resident", _yes),
    ]
    parts = [f"# {_title(result)}", _how(result), _markdown(rows, columns)]
    if result["not_run"]:
        parts.append(
            "Not run here:\n\n" + "\n".join(f"- {each['name']}: {each['reason']}" for each in result["not_run"])
        )
    goals = [f"- {_met(each)}: {each['goal']} ({each['why']})" for each in result["verdicts"]]
    if goals:
        parts.append("Goals:\n\n" + "\n".join(goals))
    return "\n\n".join(parts) + "\n"


def _met(verdict: Mapping[str, Any]) -> str:
    if verdict["met"] is None:
        return "not known"
    by = "" if verdict["in_every_turn"] else ", but not in every turn"
    return f"met{by}" if verdict["met"] else "not met"


def readme_table(result: Mapping[str, Any], only: str = "", *, how: bool = True) -> str:
    """The columns that decide, what couldn't be run, and where it was measured.

    Args:
        result: of a comparison.
        only: regular expression: names of the runtimes to tell of.
        how: it was measured is told, too.
    """
    rows = [row for row in map(Row.from_json, result["rows"]) if re.search(only, row.name)]
    with_device = is_on_device(result)
    memory: list[Column] = [
        ("peak memory of the process", lambda row: size(row.peak_nbytes)),
        ("without pages of files", lambda row: size(row.own_nbytes)),
    ]
    device: list[Column] = [("peak on the device", lambda row: size(row.device_nbytes))] if with_device else []
    columns: list[Column] = [
        ("a step, resident = 1", lambda row: _ratio(row.against_resident)),
        ("first step done after", lambda row: _short_seconds(row.first_step_seconds)),
        *memory,
        *device,
        ("a step with no file cached", lambda row: _short_seconds(row.cold_step_seconds)),
        ("read from disk then", lambda row: size(row.cold_read_nbytes)),
        ("same result", _yes),
    ]
    parts = [_markdown(rows, columns)]
    reasons: dict[str, list[str]] = {}
    for each in result["not_run"]:
        if re.search(only, each["name"]):
            reasons.setdefault(each["reason"], []).append(each["name"])
    if reasons:
        told = "\n".join(f"- {'; '.join(names)}: {reason}" for reason, names in reasons.items())
        parts.append(f"Not run, or not to the end, on that machine:\n\n{told}")
    if how:
        parts.append(_how(result))
    return "\n\n".join(parts) + "\n"


def in_words(result: Mapping[str, Any], name: str) -> str:
    """One runtime beside the resident one, in a sentence, by medians.

    Args:
        result: of a comparison.
        name: of a runtime of this project.

    Raises:
        ValueError: there is no such row, its result isn't the resident one's, or the sentence would say more than was
            measured.
    """
    rows = {row.name: row for row in map(Row.from_json, result["rows"])}
    row, resident = rows.get(name), rows.get("resident")
    if row is None or resident is None or row.kind != "this project" or not row.equal:
        raise ValueError(f"nothing can be said of {name!r}: it isn't a row of this project with the resident's result")
    peaks = [each.peak_nbytes for each in (row, resident)]
    if result["model"]["name"] != "full" or is_on_device(result) or None in (*peaks, row.against_resident):
        raise ValueError(f"nothing can be said of {name!r}: not at full size on a processor, or not all was measured")
    assert row.against_resident is not None
    cold = row.cold_against_resident
    uncached = "" if cold is None else f" ({cold.median:.2f} times, if the file has to be read again each time)"
    told = (
        f"**Measured** at full size, without a GPU, on {result['machine']['cores']} processor cores: the process takes "
        f"{size(row.peak_nbytes)} at its peak, where diffusers with all weights loaded takes "
        f"{size(resident.peak_nbytes)}, and a step takes {row.against_resident.median:.2f} times as long{uncached}. "
        "The result is the same, bit for bit."
    )
    return textwrap.fill(told, _WIDTH)


def size(nbytes: float | None) -> str:
    """Decimal units with two or three digits."""
    if nbytes is None:
        return UNKNOWN
    value = float(nbytes)
    for unit in ("B", "KB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def is_on_device(result: Mapping[str, Any]) -> bool:
    """Whether a device with memory of its own computed."""
    return bool(result["device"] != "cpu")


def _title(result: Mapping[str, Any]) -> str:
    model = {"full": "The full-size SDXL U-Net", "demo": "The demo's U-Net"}[result["model"]["name"]]
    return f"{model} under every runtime"


def _how(result: Mapping[str, Any]) -> str:
    model, machine = result["model"], result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    environment = ", ".join(f"{name}={value}" for name, value in result["environment"].items())
    commit = f"commit {result['revision']}; " if result["revision"] else ""
    return (
        f"Measured {result['date']} on {machine['processor']}, {machine['cores']} cores, "
        f"{result['threads']} threads, {size(machine['memory_nbytes'])} of memory, {machine['storage']}, "
        f"device: {machine['device']}; {commit}{versions}. {model['weights']:,} synthetic weights, "
        f"{model['pixels']} x {model['pixels']}, batch {model['batch']}, {model['compute']}. "
        f"{_turns(result)} each runtime had its turn, in a process of its own, started "
        f"{_start(result)}, with {environment}. Medians (least to most). `{result['command']}`"
    )


def _start(result: Mapping[str, Any]) -> str:
    """What was in the page cache then, as far as the system tells."""
    if not result["cold_start"]:
        return "with files in the page cache"
    cached = [run["cached_at_start_nbytes"] for run in result["runs"] if not run["reason"]]
    if not cached or any(nbytes is None for nbytes in cached):
        return "with its files in the page cache or not: this system doesn't tell"
    return f"with {size(max(cached)) if max(cached) else 'nothing'} of its files in the page cache"


def _turns(result: Mapping[str, Any]) -> str:
    """What really ran: a run may have been ended before its last round."""
    found = sorted({row["rounds"] for row in result["rows"] if row["kind"] != "resident"}) or [result["rounds"]]
    many = f"{found[0]} to {found[-1]}" if len(found) > 1 else str(found[0])
    return "Once" if many == "1" else f"{many} times"


def _markdown(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    lines = ["| | " + " | ".join(name for name, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        name = f"**{row.name}**" if row.kind == "this project" else row.name
        lines.append(f"| {name} | " + " | ".join(show(row) for _, show in columns) + " |")
    return "\n".join(lines)


def _seconds(spread: Spread | None) -> str:
    if spread is None:
        return UNKNOWN
    return f"{spread.median:.3g} s ({spread.low:.3g} to {spread.high:.3g})"


def _short_seconds(spread: Spread | None) -> str:
    return UNKNOWN if spread is None else f"{spread.median:.3g} s"


def _ratio(spread: Spread | None) -> str:
    if spread is None:
        return UNKNOWN
    if spread.low == spread.high == 1:
        return "1"
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def _yes(row: Row) -> str:
    by = "" if row.largest_difference is None else f", by up to {row.largest_difference:.0e}"
    return {True: "yes", False: f"**no**{by}", None: UNKNOWN}[row.equal]
