"""One picture after the other: draws, shows progress, saves, and keeps count."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
from rich.console import Console

from streamer.cli.demo_prompts import introduction
from streamer.cli.pictures import PictureNames, save
from streamer.cli.progress import Reading, StepProgress
from streamer.cli.warnings import Warnings
from streamer.errors import printable
from streamer.models.conditioning import Conditioning
from streamer.models.input_image import fitted_size, same_proportions

if TYPE_CHECKING:
    from streamer.models.defaults import Defaults
    from streamer.models.pipeline import Request, StreamedPipeline


@dataclass(frozen=True)
class Wishes:
    """What the user said about every picture; None leaves it to the model.

    A picture that is drawn from another has its proportions, where the user doesn't say otherwise.
    """

    steps: int | None
    guidance: float | None
    width: int | None
    height: int | None
    negative: str | None
    conditioning: Conditioning = field(default_factory=Conditioning)

    def request(self, prompt: str, seed: int, defaults: Defaults) -> Request:
        """The request for one picture.

        Raises:
            SettingError: a number is out of its range, or the prompt is no text.
        """
        from streamer.models.pipeline import Request

        width = self.width if self.width is not None else defaults.width
        height = self.height if self.height is not None else defaults.height
        start = self.conditioning.start
        if start is not None:
            own = (defaults.width, defaults.height)
            width, height = fitted_size(start.image.size, self.width, self.height, own)
        return Request(
            prompt=prompt,
            negative=self.negative,
            seed=seed,
            steps=self.steps if self.steps is not None else defaults.steps,
            guidance=self.guidance if self.guidance is not None else defaults.guidance,
            width=width,
            height=height,
            conditioning=self.conditioning,
        )

    def check(self, prompts: list[str], seed: int | None, count: int) -> None:
        """Returns only if nothing that the user said makes no sense; before anything is loaded or fetched.

        Raises:
            SettingError: as `request`.
        """
        from streamer.models.defaults import Defaults

        for prompt in prompts or ["x"]:
            for number in {seed or 0, (seed or 0) + count - 1}:
                self.request(prompt, number, Defaults())


class Drawing:
    """Draws with one pipeline, which it doesn't own.

    Args:
        pipeline: that draws.
        wishes: for every picture.
        names: gives the paths.
        console: for progress.
        quiet: no progress.
        warnings: what was told so far; more may be added.
    """

    def __init__(
        self,
        pipeline: StreamedPipeline,
        wishes: Wishes,
        names: PictureNames,
        console: Console,
        *,
        quiet: bool,
        warnings: Warnings,
    ) -> None:
        self._pipeline = pipeline
        self._wishes = wishes
        self._names = names
        self._console = console
        self._quiet = quiet
        self._process = psutil.Process()
        self._pictures: list[dict[str, Any]] = []
        self._skipped: list[str] = []
        self.paths: list[Path] = []
        """Of all pictures of this run in their order, those too that were there already."""
        self._warnings = warnings
        # What can't work is told before anything is computed.
        pipeline.prepare(wishes.request("x", 0, pipeline.defaults))
        if not quiet:
            self._introduce()

    def draw(self, prompt: str, seed: int) -> Path:
        """Draws and saves one picture; returns its path."""
        request = self._wishes.request(prompt, seed, self._pipeline.defaults)
        self._warn_of_what_is_ignored(request)
        started = time.perf_counter()
        with StepProgress(self._console, prompt, request.steps, quiet=self._quiet) as progress:
            image = self._pipeline.generate(request, lambda step, steps: progress.step(step, steps, self._reading))
        path = self._names.next(prompt, seed)  # not before: another process may have taken the name meanwhile
        save(image, path, request, self._pipeline.made_with())
        self.paths.append(path)
        seconds = time.perf_counter() - started
        self._pictures.append(request.settings() | {"path": str(path), "seconds": round(seconds, 3)})
        if not self._quiet:
            reading = self._reading()
            self._console.print(
                f"{printable(path.name)}: seed {seed}, {request.steps} steps in {seconds:.1f} s, {reading.text()}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        return path

    def skip(self, path: Path) -> None:
        """A picture of this run is there already."""
        self._skipped.append(str(path))
        self.paths.append(path)
        if not self._quiet:
            self._console.print(f"{printable(path.name)}: there already", markup=False, highlight=False, soft_wrap=True)

    def settings(self) -> dict[str, Any]:
        """All that determines a picture besides its prompt and seed."""
        settings = self._wishes.request("x", 0, self._pipeline.defaults).settings() | self._pipeline.made_with()
        return {name: value for name, value in settings.items() if name not in ("prompt", "seed")}

    def summary(self) -> dict[str, Any]:
        """All that was drawn and what it took, for a machine to read. Sizes in bytes, times in seconds."""
        handle = self._pipeline.handle
        plan, stats = handle.plan, handle.stats
        steps, totals = stats.steps, stats.totals
        seconds = totals.step_seconds
        return {
            "pictures": self._pictures,
            "skipped": self._skipped,
            "model": self._pipeline.model_name,
            "weights": handle.source_name,
            **self._pipeline.extras.settings(),
            "device": str(self._pipeline.device),
            "scheduler": self._pipeline.scheduler,
            "forwards": totals.steps,
            "first_forward_seconds": round(stats.first_step_seconds, 4) if totals.steps else None,
            "median_forward_seconds": round(median(step.seconds for step in steps), 4) if steps else None,
            "streamed_nbytes": totals.work.loaded_nbytes,
            "streamed_mb_per_second": round(totals.work.loaded_nbytes / seconds / 1e6, 1) if seconds else 0.0,
            "stall_share": round(totals.work.waited_seconds / seconds, 4) if seconds else 0.0,
            "budget_nbytes": self._pipeline.parts.budget_nbytes,
            "unet_budget_nbytes": plan.budget_nbytes,
            "vae_tile": self._pipeline.tile_in_use,
            "device_weights_nbytes": plan.arena_nbytes,
            "device_peak_nbytes": self._pipeline.device_peak_nbytes(),
            "host_cache_nbytes": handle.held_nbytes,
            "host_resident_nbytes": self._process.memory_info().rss,
            "unet_nbytes": plan.total_nbytes,
            "resident_nbytes": plan.resident_nbytes,
            "streamed_nbytes_per_step": plan.streamed_nbytes,
            "blocks": len(plan.blocks),
            "resident_blocks": len(plan.resident),
            "warnings": list(self._warnings),
        }

    @property
    def _is_demo(self) -> bool:
        from streamer.models.open import DEMO

        return self._pipeline.model_name == DEMO

    def _warn_of_what_is_ignored(self, request: Request) -> None:
        from streamer.models.demo.words import not_understood

        unknown = not_understood(request.prompt) if self._is_demo else None
        if unknown is not None:
            self._warnings.tell(unknown.text())
        for name, text in (("prompt", request.prompt), ("negative prompt", request.negative)):
            rest = self._pipeline.cut_off(text) if text else None
            if rest is not None:
                self._warnings.tell(f"The {name} is too long; this end of it isn't read: {rest}")
        for hint in request.conditioning.controls:
            if not same_proportions(hint.image.size, (request.width, request.height)):
                has = "{} x {}".format(*hint.image.size)
                drawn = f"{request.width} x {request.height}"
                self._warnings.tell(f"{hint.image.name} ({has} pixels) is stretched to the picture's {drawn}.")
        if request.negative and request.guidance <= 1:
            self._warnings.tell(f"With a guidance of {request.guidance:g} the negative prompt has no effect.")

    def _reading(self) -> Reading:
        handle = self._pipeline.handle
        step = handle.stats.steps[-1]
        return Reading(
            step.seconds,
            step.work.loaded_nbytes,
            step.stall_share,
            handle.plan.arena_nbytes,
            self._process.memory_info().rss,
        )

    def _introduce(self) -> None:
        from streamer.config import format_size
        from streamer.plan.explain import summary

        handle = self._pipeline.handle
        whole = format_size(self._pipeline.parts.budget_nbytes)
        tile = self._pipeline.tile_in_use
        decoded = "" if tile is None else f"\nThe picture is decoded in tiles of {tile} pixels, to stay within {whole}."
        about = f"{introduction()}\n" if self._is_demo else ""
        self._console.print(
            f"{self._pipeline.model_name} on {self._pipeline.device}, weights from {handle.source_name}\n{about}"
            f"{whole} for everything. Of the U-Net: {summary(handle.plan)}{decoded}{self._extras()}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def _extras(self) -> str:
        """A line about what is drawn with besides the model; empty if there is nothing."""
        extras = self._pipeline.extras
        names = [f"LoRA {lora.name} ({lora.scale:g})" for lora in extras.loras]
        names += [f"ControlNet {Path(name).name}" for name, _ in extras.controls]
        names += [] if extras.ip_adapter is None else [f"IP-Adapter {extras.ip_adapter.name}"]
        names += [] if extras.refiner is None else [f"refiner {Path(extras.refiner.name).name}"]
        return f"\nWith {', '.join(names)}" if names else ""
