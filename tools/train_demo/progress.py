"""How far a stage is: loss, samples a second, time left."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

_EVERY = 10.0  # seconds between lines


class Progress:
    """Prints a line now and then, and appends it to the stage's log, a JSON object a line.

    Args:
        stage: its name.
        log: where lines are kept.
        done_seconds: that earlier runs took.
    """

    def __init__(self, stage: str, log: Path, done_seconds: float = 0.0) -> None:
        self._stage = stage
        self._log = log
        self._before = done_seconds
        self._started = self._told = time.monotonic()
        self._samples = 0
        self._losses: list[float] = []

    @property
    def seconds(self) -> float:
        """Since the stage began, without the time between runs."""
        return self._before + time.monotonic() - self._started

    def step(self, step: int, loss: float, samples: int, share: float) -> None:
        """Counts a step.

        Args:
            step: its number.
            loss: of its samples.
            samples: how many.
            share: of the stage that is done, 0 to 1.
        """
        self._samples += samples
        self._losses.append(loss)
        now = time.monotonic()
        if now - self._told < _EVERY and share < 1:
            return
        seconds = now - self._told
        rate = self._samples / seconds if seconds > 0 else 0.0
        run = now - self._started
        left = self.seconds * (1 - share) / share if share > 0 else 0.0
        mean = sum(self._losses) / len(self._losses)
        line = {
            "step": step,
            "loss": round(mean, 5),
            "samples_per_second": round(rate, 1),
            "seconds": round(self.seconds, 1),
            "seconds_left": round(left, 1),
        }
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        tell(
            f"{self._stage}: step {step}, loss {mean:.4f}, {rate:.0f} samples/s, "
            f"{run / 60:.1f} min, {left / 60:.1f} min left"
        )
        self._told, self._samples, self._losses = now, 0, []


def tell(line: str) -> None:
    """One line for whoever waits."""
    print(line, file=sys.stderr, flush=True)
