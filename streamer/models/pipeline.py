"""An SDXL pipeline whose parts stream: from a request to a picture."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from PIL.Image import Image
from safetensors import SafetensorError

from streamer.config import StreamSettings
from streamer.errors import ModelError, NoPictureError, SettingError
from streamer.models.conditioning import Conditioning
from streamer.models.defaults import Defaults
from streamer.models.directory import ModelDirectory
from streamer.models.extras import Extras
from streamer.models.parts import PipelineParts
from streamer.models.picture_size import PictureSize
from streamer.models.schedulers import make_scheduler
from streamer.models.variants import arguments, refiner_kind, taking_over, variant
from streamer.runtime.attach import StreamHandle
from streamer.sources.base import WeightSource

_LARGEST_SIDE = 1 << 14  # pixels
_LOADING_FAULTS = (
    OSError, ValueError, LookupError, AttributeError, TypeError, RuntimeError, ImportError, SafetensorError
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """Everything that determines a picture, given the model and the device.

    Attributes:
        prompt: what to draw.
        negative: what to keep away from, or None.
        seed: of the noise, which is drawn on the CPU, the same for every device.
        steps: of denoising, at least 1.
        guidance: scale of classifier-free guidance; up to 1 there is none.
        width: pixels, a multiple of 8.
        height: pixels, a multiple of 8.
        conditioning: what else it is made from: other pictures.

    Raises:
        SettingError: a number is out of its range.
    """

    prompt: str
    negative: str | None
    seed: int
    steps: int
    guidance: float
    width: int
    height: int
    conditioning: Conditioning = field(default_factory=Conditioning)

    def __post_init__(self) -> None:
        for text in (self.prompt, self.negative or ""):
            if not text.isprintable() and any("\ud800" <= c <= "\udfff" for c in text):
                raise SettingError(f"The prompt {text!a} isn't text: some of its bytes are no UTF-8.")
        check_sides(self.width, self.height)
        if not 1 <= self.steps <= 1000:
            raise SettingError(f"{self.steps} steps: between 1 and 1000 can be made.")
        if not 0 <= self.guidance <= 1000:
            raise SettingError(f"A guidance of {self.guidance} makes no sense; 1 to 15 is usual.")
        if not 0 <= self.seed < 1 << 63:
            raise SettingError(f"The seed {self.seed} is out of range: 0 to {(1 << 63) - 1}.")
        self.conditioning.require_steps(self.steps)

    @property
    def size(self) -> PictureSize:
        """What of it determines memory."""
        guided = self.guidance > 1
        return PictureSize(self.width, self.height, guided=guided, encoded=self.conditioning.start is not None)

    def settings(self) -> dict[str, Any]:
        """All of it, for a picture's metadata; of other pictures their names and digests."""
        own = ("prompt", "negative", "seed", "steps", "guidance", "width", "height")
        return {name: getattr(self, name) for name in own} | self.conditioning.settings()


def check_sides(width: int, height: int) -> None:
    """Returns if a picture may have so many pixels.

    Raises:
        SettingError: too few, too many, or no multiple of 8.
    """
    for name, pixels in (("width", width), ("height", height)):
        nearest = min(max(round(pixels / 8) * 8, 8), _LARGEST_SIDE)
        if not 8 <= pixels <= _LARGEST_SIDE:
            raise SettingError(f"The {name} of {pixels} pixels isn't within 8 to {_LARGEST_SIDE}.")
        if pixels % 8:
            raise SettingError(f"The {name} of {pixels} pixels isn't a multiple of 8.", f"Try {nearest}.")


class StreamedPipeline:
    """Draws pictures that are bit-identical to those of the same weights loaded whole. Owns the streamed parts.

    For one thread at a time. Closing it stops the workers and closes the weight files; a context manager.
    """

    def __init__(
        self,
        model_name: str,
        pipe: Any,
        parts: PipelineParts,
        defaults: Defaults,
        device: torch.device,
        scheduler: str,
        vae_tile: int | None = None,
    ) -> None:
        self.model_name = model_name
        self.pipe = pipe
        self.parts = parts
        self.defaults = defaults
        self.device = device
        self.scheduler = scheduler
        self._vae_tile = vae_tile
        self._tile_in_use: int | None = None
        self.extras = Extras()

    @property
    def handle(self) -> StreamHandle:
        """The U-Net's."""
        return self.parts.unet

    @property
    def tile_in_use(self) -> int | None:
        """Side in pixels of the tiles in which the VAE decoded the last picture; None: it was decoded whole."""
        return self._tile_in_use

    def made_with(self) -> dict[str, Any]:
        """What determines a picture besides the request: model, weights, adapters, scheduler, device, type, tiles."""
        tiles = {} if self._tile_in_use is None else {"vae_tile": str(self._tile_in_use)}
        return tiles | {
            "model": Path(self.model_name).name,
            "weights": self.handle.source_label,
            "scheduler": self.scheduler,
            "device": self.device.type,
            "dtype": str(self.pipe.unet.dtype).removeprefix("torch."),
            **self.extras.settings(),
        }

    def cut_off(self, prompt: str) -> str | None:
        """What of the prompt the text encoders don't read because it is too long; None if they read all of it."""
        tokenizer = self.pipe.tokenizer
        most = tokenizer.model_max_length - 1  # the last place is the end's
        tokens = tokenizer(prompt, truncation=False).input_ids[:-1]
        if len(tokens) <= most:
            return None
        rest: str = tokenizer.decode(tokens[most:], skip_special_tokens=True)
        return rest

    def generate(self, request: Request, on_step: Callable[[int, int], None] | None = None) -> Image:
        """The picture that the request describes.

        Args:
            request: what to draw and how.
            on_step: called after each step with its number, from 1, and how many there will be: some schedulers
                take more than are asked for.

        Raises:
            SettingError: the scheduler can't make so many steps.
            PartBudgetError: the budget can't hold what such a picture needs.
            NoPictureError: what came out are no numbers.
        """
        self._check_steps(request.steps)
        self.prepare(request)
        wanted, refiner = request.conditioning, self.extras.refiner
        generator = torch.Generator("cpu").manual_seed(request.seed)
        told = 0  # steps that were made by the pipeline before

        def step_ended(pipe: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
            if on_step is not None:
                handed_over = wanted.refine_from is not None and not told
                on_step(told + step + 1, request.steps if handed_over else told + pipe.num_timesteps)
            return kwargs

        def draw(pipe: Any, conditions: dict[str, Any]) -> Any:
            # No tensors for the callback: to pick them out, the step before would be kept alive.
            calls = {"callback_on_step_end": step_ended, "callback_on_step_end_tensor_inputs": []}
            common = {"output_type": "np", "generator": generator, **calls}
            numbers = {"guidance_scale": request.guidance, "num_inference_steps": request.steps}
            return pipe(**(common | numbers | self._encode(pipe, request) | conditions))

        pipe = variant(self.pipe, wanted, self.extras.control_modules)
        if wanted.image_prompt is not None:
            pipe.set_ip_adapter_scale(wanted.image_prompt.scale)
        output = draw(pipe, arguments(wanted, request.width, request.height))
        if wanted.refine_from is not None and refiner is not None:
            told = pipe.num_timesteps
            second = refiner.pipeline(refiner_kind(wanted))
            output = draw(second, taking_over(wanted, output.images, request.width, request.height))
        if not np.isfinite(output.images).all():
            raise NoPictureError(self.handle.source_name)
        image: Image = self.pipe.image_processor.numpy_to_pil(output.images)[0]
        return image

    def prepare(self, request: Request) -> int | None:
        """Makes sure that the picture can be drawn within the budget; the side of the VAE's tiles in pixels, or None.

        Raises:
            PartBudgetError: it can't; carries the smallest budget with which it can.
        """
        self._tile_in_use = self.parts.prepare(request.size, self._vae_tile)
        return self._tile_in_use

    def _check_steps(self, steps: int) -> None:
        try:
            self.pipe.scheduler.set_timesteps(steps)
        except (ValueError, IndexError, ZeroDivisionError) as error:
            name = type(self.pipe.scheduler).__name__
            raise SettingError(f"{name} can't make {steps} steps ({error}).", "Try more steps.") from error

    def device_peak_nbytes(self) -> int | None:
        """Most memory that torch had allocated on the device, activations included; None on a CPU."""
        peak = self.parts.device_peak_nbytes()
        return None if peak is None else peak[0]

    def close(self) -> None:
        """Stops the workers and lets go of the weights."""
        self.parts.close()

    def __enter__(self) -> StreamedPipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _encode(self, pipe: Any, request: Request) -> dict[str, Any]:
        """The prompt's embeddings, as that pipeline's encoders give them."""
        positive, negative, pooled, negative_pooled = pipe.encode_prompt(
            prompt=request.prompt,
            negative_prompt=request.negative,
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=request.guidance > 1,
        )
        return {
            "prompt_embeds": positive,
            "negative_prompt_embeds": negative,
            "pooled_prompt_embeds": pooled,
            "negative_pooled_prompt_embeds": negative_pooled,
        }


def load_pipeline(
    model: ModelDirectory,
    unet: Any,
    source: WeightSource,
    settings: StreamSettings,
    device: torch.device,
    dtype: torch.dtype,
    defaults: Defaults,
    scheduler: str | None = None,
    vae_tile: int | None = None,
) -> StreamedPipeline:
    """A pipeline whose U-Net takes its weights from the source; the model's own U-Net is neither read nor loaded.

    Args:
        model: gives everything but the U-Net's weights.
        unet: as `streamer.models.unet.empty_unet` gives it.
        source: of the U-Net's weights; closed with the pipeline, and if this fails.
        settings: budgets and threads; the budget of the device is that of everything.
        device: to compute on.
        dtype: to compute in.
        defaults: of the model.
        scheduler: by name, or None for the model's own.
        vae_tile: side in pixels of the tiles in which pictures are decoded; 0: whole; None: whole where that fits into
            the budget, else in the largest tiles that do.

    Raises:
        ModelError: a part of the model is missing or damaged.
        WeightsFileError: a part's file can't be used.
        WeightsMismatchError: a part's file doesn't give all its weights.
    """
    parts = PipelineParts(model, unet, source, settings, device, dtype)
    try:
        pipe = load_rest(model, parts.modules, dtype)
        if scheduler is not None:
            pipe.scheduler = make_scheduler(scheduler, pipe.scheduler)
        pipe.set_progress_bar_config(disable=True)
    except BaseException:
        parts.close()
        raise
    gc.collect()
    used = scheduler if scheduler is not None else type(pipe.scheduler).__name__
    return StreamedPipeline(model.name, pipe, parts, defaults, device, used, vae_tile)


def load_rest(
    model: ModelDirectory, modules: Mapping[str, Any], dtype: torch.dtype, kind: Any = StableDiffusionXLPipeline
) -> Any:
    """A diffusers pipeline of these modules; tokenizers and scheduler are the model's.

    Args:
        model: in diffusers layout.
        modules: by their names in the pipeline.
        dtype: that the pipeline computes in.
        kind: class of the pipeline.

    Raises:
        ModelError: a part is missing or damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return kind.from_pretrained(
                str(model.root),
                **modules,
                torch_dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                add_watermarker=False,
            )
        except torch.OutOfMemoryError:
            raise
        except _LOADING_FAULTS as error:
            if "allocate memory" in str(error):
                raise
            problem = f"it can't be loaded as an SDXL pipeline ({type(error).__name__}: {error})."
            raise ModelError(
                model.name, problem, "Is it complete? An interrupted download leaves files cut short."
            ) from error
