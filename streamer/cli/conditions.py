"""The options that name other pictures and adapters, made into what a pipeline is opened with and draws from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.cli.lora_option import parse_lora
from streamer.cli.pairs import split
from streamer.errors import SettingError
from streamer.models.conditioning import (
    DEFAULT_MASKED_STRENGTH,
    DEFAULT_STRENGTH,
    Conditioning,
    Hint,
    Start,
)
from streamer.models.input_image import read_image, require_fitting_mask
from streamer.models.user_path import user_path

if TYPE_CHECKING:
    from streamer.models.extras import ExtraOptions

_IP_SCALE = 0.6
_REFINE_FROM = 0.8


@dataclass(frozen=True)
class ConditionOptions:
    """What the user said about them, as on the command line; None and empty: nothing."""

    image: Path | None = None
    mask: Path | None = None
    strength: float | None = None
    control: Sequence[str] = ()
    control_scale: Sequence[float] = ()
    lora: Sequence[str] = ()
    ip_adapter: str | None = None
    ip_scale: float | None = None
    ip_encoder: Path | None = None
    refiner: str | None = None
    refine_from: float | None = None

    def conditioning(self, warn: Callable[[str], None]) -> Conditioning:
        """What every picture is drawn from; the files are read.

        Args:
            warn: told what is unusual, a line each.

        Raises:
            SettingError: an option lacks the one that it belongs to, or a number is out of its range.
            ImageFileError: a picture can't be read.
        """
        self._require_belonging()
        hint = None
        if self.ip_adapter is not None:
            scale = self.ip_scale if self.ip_scale is not None else _IP_SCALE
            hint = Hint(read_image(user_path(split(self.ip_adapter)[1])), scale)
        takes_over = self.refine_from if self.refine_from is not None else _REFINE_FROM
        return Conditioning(self._start(warn), self._controls(), hint, takes_over if self.refiner is not None else None)

    def extras(self) -> ExtraOptions:
        """What the pipeline is opened with.

        Raises:
            SettingError: a LoRA's scale makes no sense.
        """
        from streamer.models.extras import ExtraOptions
        from streamer.models.ip_adapter import IpAdapterFile
        from streamer.models.lora import LoraFile

        ip_adapter = None
        if self.ip_adapter is not None:
            encoder = None if self.ip_encoder is None else user_path(self.ip_encoder)
            ip_adapter = IpAdapterFile(user_path(split(self.ip_adapter)[0]), encoder)
        return ExtraOptions(
            controls=tuple(split(pair)[0] for pair in self.control),
            loras=tuple(LoraFile(*parse_lora(text)) for text in self.lora),
            ip_adapter=ip_adapter,
            refiner=self.refiner,
        )

    def _require_belonging(self) -> None:
        for name, value, other, there in (
            ("--mask", self.mask, "--image", self.image),
            ("--strength", self.strength, "--image", self.image),
            ("--control-scale", self.control_scale or None, "--control", self.control or None),
            ("--ip-scale", self.ip_scale, "--ip-adapter", self.ip_adapter),
            ("--ip-encoder", self.ip_encoder, "--ip-adapter", self.ip_adapter),
            ("--refine-from", self.refine_from, "--refiner", self.refiner),
        ):
            if value is not None and there is None:
                raise SettingError(f"{name} says something about {other}, which isn't there.", f"Give {other} too.")
        for text in self.lora:
            parse_lora(text)

    def _start(self, warn: Callable[[str], None]) -> Start | None:
        if self.image is None:
            return None
        image = read_image(user_path(self.image))
        if self.mask is None:
            return Start(image, self.strength if self.strength is not None else DEFAULT_STRENGTH)
        mask = read_image(user_path(self.mask), mask=True)
        require_fitting_mask(image, mask)
        if mask.size != image.size:
            has, of = (f"{size[0]} x {size[1]}" for size in (mask.size, image.size))
            warn(f"The mask {mask.name} ({has} pixels) is resized: {image.name} has {of}.")
        lightest = mask.pixels.getextrema()[1]
        if isinstance(lightest, (int, float)) and lightest < 128:
            warn(f"The mask {mask.name} has nothing white: nothing of {image.name} will change.")
        return Start(image, self.strength if self.strength is not None else DEFAULT_MASKED_STRENGTH, mask)

    def _controls(self) -> tuple[Hint, ...]:
        scales = list(self.control_scale) or [1.0]
        if len(scales) not in (1, len(self.control)) and self.control:
            raise SettingError(
                f"{len(self.control)} times --control and {len(scales)} times --control-scale.",
                "Give one scale for all, or one for each, in the same order.",
            )
        scales = scales * len(self.control) if len(scales) == 1 else scales
        images = [read_image(user_path(split(pair)[1])) for pair in self.control]
        return tuple(Hint(image, scale) for image, scale in zip(images, scales, strict=True))
