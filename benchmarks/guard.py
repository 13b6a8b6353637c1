"""Key ratios of this machine against the recorded ones, within a minute: exits 1 if one got worse, and tells which.

    python -m benchmarks.guard             # measures and compares
    python -m benchmarks.guard --record    # measures, and makes these the recorded ones

Ratios only, each of two things measured in turn in one run, never a time: a slow or a busy machine makes both slower. A
ratio that is worse than recorded by more than its tolerance is measured once more, and the better counts. What is
recorded is in guard.json, beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

RECORDED = Path(__file__).with_name("guard.json")
Measure = Callable[[Collection[str]], Mapping[str, float]]
"""Measures the ratios of these names; the fewer, the sooner."""


@dataclass(frozen=True)
class Guarded:
    """A ratio as recorded; less is better.

    Attributes:
        recorded: what it was.
        tolerance: by which it may be multiplied before it counts as worse.
        what: of what it is the ratio.
    """

    recorded: float
    tolerance: float
    what: str

    @property
    def most(self) -> float:
        """Beyond this it is a regression."""
        return self.recorded * self.tolerance


@dataclass(frozen=True)
class Regression:
    """A ratio that got worse.

    Attributes:
        name: of the ratio.
        measured: what it is now, at its best.
        guarded: what it may be.
    """

    name: str
    measured: float
    guarded: Guarded

    def __str__(self) -> str:
        told, most = f"{self.measured:.4g}", f"{self.guarded.most:.4g}"
        recorded = f"recorded {self.guarded.recorded:.4g}, tolerance {self.guarded.tolerance:g}"
        return f"{self.name}: {told}, at most {most} is allowed ({recorded}): {self.guarded.what}"


def worse(recorded: Mapping[str, Guarded], measured: Mapping[str, float]) -> list[Regression]:
    """The ratios that are beyond what they may be; one that isn't a number is.

    Args:
        recorded: by name.
        measured: by name; those that weren't measured aren't compared.
    """
    return [
        Regression(name, measured[name], guarded)
        for name, guarded in recorded.items()
        if name in measured and not measured[name] <= guarded.most
    ]


def check(recorded: Mapping[str, Guarded], measure: Measure, tell: Callable[[str], None]) -> list[Regression]:
    """The regressions that a second measurement confirms.

    Args:
        recorded: by name.
        measure: called once, and again for what seems worse.
        tell: told a line for each ratio.

    Raises:
        KeyError: a ratio is recorded and not measured, or the other way round.
    """
    measured = dict(measure(recorded.keys()))
    if measured.keys() != recorded.keys():
        raise KeyError(f"recorded and measured differ: {sorted(measured.keys() ^ recorded.keys())}")
    if suspects := worse(recorded, measured):
        tell(f"once more: {', '.join(each.name for each in suspects)}")
        again = measure([each.name for each in suspects])
        # Not min alone: what isn't a number is no better than anything.
        measured |= {name: _better(measured[name], value) for name, value in again.items()}
    for name, guarded in recorded.items():
        tell(f"{name}: {measured[name]:.4g} (recorded {guarded.recorded:.4g}, at most {guarded.most:.4g})")
    return worse(recorded, measured)


def _better(one: float, other: float) -> float:
    return one if one <= other or other != other else other


def read(path: Path) -> dict[str, Guarded]:
    """What is recorded."""
    return {name: Guarded(**told) for name, told in json.loads(path.read_text("utf-8")).items()}


def record(path: Path, recorded: Mapping[str, Guarded], measured: Mapping[str, float]) -> None:
    """The measured ratios are the recorded ones from now on; tolerances stay."""
    new = {name: asdict(each) | {"recorded": float(f"{measured[name]:.3g}")} for name, each in recorded.items()}
    path.write_text(json.dumps(new, indent=1) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args(arguments)
    # As the command line does, before torch reads it: a thread that decodes and one that spins want the same core.
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    from benchmarks.guarded_ratios import measured_in

    began = time.monotonic()
    recorded = read(RECORDED)
    with tempfile.TemporaryDirectory() as folder, measured_in(Path(folder)) as measure:
        if args.record:
            record(RECORDED, recorded, measure(recorded.keys()))
            return 0
        found = check(recorded, measure, print)
    print(f"{len(recorded)} ratios in {time.monotonic() - began:.0f} s")
    for each in found:
        print(f"worse: {each}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
