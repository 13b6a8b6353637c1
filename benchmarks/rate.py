"""Bytes a second beside a benchmark's times."""

from __future__ import annotations

from typing import Any


def tell_rate(benchmark: Any, what: str, nbytes: int) -> None:
    """Adds gigabytes a second of the fastest round to what the benchmark tells; nothing where times aren't taken.

    Args:
        benchmark: pytest-benchmark's fixture, after its rounds.
        what: the bytes are.
        nbytes: of a round.
    """
    if benchmark.stats is not None:  # with --benchmark-disable, or in several processes
        benchmark.extra_info[f"GB/s of {what}"] = nbytes / benchmark.stats.stats.min / 1e9
