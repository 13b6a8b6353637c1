"""What a picture is made from besides its prompt: other pictures, and how much each counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from streamer.errors import SettingError
from streamer.models.input_image import InputImage

DEFAULT_STRENGTH = 0.6
DEFAULT_MASKED_STRENGTH = 0.99
"""Within a mask nearly nothing of what was there shall stay."""


@dataclass(frozen=True)
class Start:
    """A picture that is drawn anew instead of from noise alone.

    Attributes:
        image: resized to the size that is drawn.
        strength: share of the steps that are made, above 0 and up to 1: how much is drawn anew.
        mask: where it is drawn anew (white); None: everywhere.
    """

    image: InputImage
    strength: float
    mask: InputImage | None = None

    def settings(self) -> dict[str, Any]:
        """For a picture's metadata."""
        mask = {} if self.mask is None else {"mask": self.mask.settings()}
        return {"image": self.image.settings(), "strength": self.strength} | mask


@dataclass(frozen=True)
class Hint:
    """A picture that a ControlNet or an IP-Adapter sees.

    Attributes:
        image: that it sees.
        scale: how much it counts; 0: not at all.
    """

    image: InputImage
    scale: float

    def settings(self) -> dict[str, Any]:
        """For a picture's metadata."""
        return {"image": self.image.settings(), "scale": self.scale}


@dataclass(frozen=True)
class Conditioning:
    """Everything but the prompt that a picture is made from.

    Attributes:
        start: what is drawn anew; None: noise.
        controls: for each ControlNet of the pipeline, in their order, what it sees.
        image_prompt: what the pipeline's IP-Adapter sees; None where it has none.
        refine_from: share of the steps after which the pipeline's refiner takes over; None: it has none.

    Raises:
        SettingError: a number is out of its range, or two of these can't be had together.
    """

    start: Start | None = None
    controls: tuple[Hint, ...] = ()
    image_prompt: Hint | None = None
    refine_from: float | None = None

    def __post_init__(self) -> None:
        if self.start is not None and not 0 < self.start.strength <= 1:
            raise SettingError(
                f"A strength of {self.start.strength:g} makes no sense.", "Above 0 (as it is) and up to 1 (all anew)."
            )
        for hint in (*self.controls, *([] if self.image_prompt is None else [self.image_prompt])):
            if not (math.isfinite(hint.scale) and 0 <= hint.scale <= 10):
                raise SettingError(
                    f"A scale of {hint.scale:g} for {hint.image.name} makes no sense.", "0 to 2 is usual."
                )
        if self.refine_from is not None:
            if not 0 < self.refine_from < 1:
                raise SettingError(f"The refiner can't take over at {self.refine_from:g}.", "Between 0 and 1: try 0.8.")
            if self.controls and self.start is not None and self.start.mask is None:
                raise SettingError(
                    "A ControlNet, a picture to start from and a refiner don't go together.",
                    "Leave one of them out, or give a mask.",
                )

    def require_steps(self, steps: int) -> None:
        """Returns only if at least one step is made by each that takes part.

        Raises:
            SettingError: with so few steps, or so little strength, nothing would be drawn.
        """
        if self.start is not None and int(steps * self.start.strength) < 1:
            least = math.ceil(1 / self.start.strength)
            raise SettingError(
                f"With {steps} steps and a strength of {self.start.strength:g} no step would be made.",
                f"Try {least} steps, or a larger strength.",
            )
        if self.refine_from is not None and not 1 <= round(steps * self.refine_from) < steps:
            raise SettingError(
                f"With the refiner from {self.refine_from:g} on, {steps} steps leave none for one of the two.",
                "Try more steps.",
            )

    def settings(self) -> dict[str, Any]:
        """For a picture's metadata; empty if there is nothing but the prompt."""
        made: dict[str, Any] = {} if self.start is None else self.start.settings()
        if self.controls:
            made["controls"] = [hint.settings() for hint in self.controls]
        if self.image_prompt is not None:
            made["image_prompt"] = self.image_prompt.settings()
        if self.refine_from is not None:
            made["refine_from"] = self.refine_from
        return made
