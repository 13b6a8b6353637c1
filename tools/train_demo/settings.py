"""What a run is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

STAGES = ("pictures", "vae", "text", "unet", "decoder", "pipeline", "evaluate")
"""In their order; each may be started alone, once those that it needs were."""
MINUTES: Mapping[str, float] = {"vae": 12.0, "text": 3.0, "unet": 120.0, "decoder": 8.0}
"""Of training, where nothing else is said: on two CPU cores."""


class StageOrderError(RuntimeError):
    """A stage needs what another makes."""


@dataclass(frozen=True)
class Settings:
    """One run.

    Attributes:
        output: the pipeline's directory-to-be; the work is kept within it, in ``work``.
        stages: what is done, in the order of ``STAGES``.
        minutes: of each stage that trains.
        steps: of each stage that trains, at most; None: as many as fit.
        start_from: a pipeline directory for the parts that aren't trained, and what the U-Net begins from.
        device: torch's name.
        threads: of the CPU; None: as torch sees fit.
        batch: pictures a step.
        rate: the U-Net's highest learning rate.
        guidance: what the pipeline draws with by default; None: as it was found good.
        seed: of everything.
        prompts: of each kind that the evaluation draws; None: 148 names, 40 of the others.
        drawings: SVGs by name instead of the fetched ones, which then need no network.
        small: parts of a few thousand weights, for trying the program.
    """

    output: Path
    stages: tuple[str, ...] = STAGES
    minutes: Mapping[str, float] = field(default_factory=lambda: MINUTES)
    steps: int | None = None
    start_from: Path | None = None
    device: str = "cpu"
    threads: int | None = None
    batch: int = 16
    rate: float | None = None
    guidance: float | None = None
    seed: int = 0
    prompts: int | None = None
    drawings: Path | None = None
    small: bool = False

    @property
    def work(self) -> Path:
        """Where everything that isn't the result is kept."""
        return self.output / "work"

    @property
    def pipeline(self) -> Path:
        """The result."""
        return self.output / "pipeline"

    def part(self, name: str, stage: str) -> Path:
        """The directory of a part of the pipeline: trained here, or what it starts from.

        Args:
            name: as in a pipeline directory.
            stage: that makes it.

        Raises:
            StageOrderError: there is none.
        """
        for folder in (self.work, self.start_from):
            if folder is not None and (folder / name).is_dir():
                return folder / name
        raise StageOrderError(f"There is no {name} yet: run the stage '{stage}' before, or give --start-from.")
