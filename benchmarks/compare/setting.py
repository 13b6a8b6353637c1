"""What a child process is told: which runtime, which files, how many steps."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Setting:
    """All that a child needs to know.

    Attributes:
        builder: of `benchmarks.compare.builders`.
        options: for the builder.
        model: directory in diffusers layout: the U-Net's config.json and its weights as safetensors.
        weights: the file that this project's U-Net streams from.
        scratch: an empty directory, for what the runtime writes; it is deleted afterwards.
        reference: the result of the same weights loaded whole; who loads them whole writes it.
        device: ``cpu`` or ``cuda``.
        pixels: side of the picture.
        batch: of the U-Net's inputs.
        steps: with the page cache as it is; the first isn't counted.
        cold_steps: more steps, before each of which the files leave the page cache.
    """

    builder: str
    options: dict[str, Any]
    model: Path
    weights: Path
    scratch: Path
    reference: Path
    device: str
    pixels: int
    batch: int
    steps: int
    cold_steps: int

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(
            {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}
        )

    @classmethod
    def from_json(cls, text: str) -> Setting:
        """What `to_json` was given."""
        told = json.loads(text)
        return cls(**told | {key: Path(told[key]) for key in ("model", "weights", "scratch", "reference")})

    @property
    def compute(self) -> str:
        """The name of torch's type to compute in: float32 on a CPU, where half precision is far slower."""
        return "float32" if self.device == "cpu" else "float16"
