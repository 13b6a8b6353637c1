"""A refiner: a second U-Net that makes the last steps, streamed under the same budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch

from streamer.errors import ModelError
from streamer.models.activations import ActivationMeter
from streamer.models.directory import ModelDirectory, find_model, read_json
from streamer.models.parts import PipelineParts
from streamer.models.picture_size import PictureSize
from streamer.models.schedulers import make_scheduler
from streamer.models.turns import execution_order
from streamer.models.unet import empty_unet, expected_tensors, unet_blocks
from streamer.models.unet_inputs import StepShape, unet_inputs
from streamer.models.vae import pixels_per_latent
from streamer.models.weights import open_weights

_NAME = "the refiner's U-Net"
_OF_SDXL = "stabilityai/stable-diffusion-xl-refiner-1.0"
_CONFIG_FAULTS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, ImportError)


@dataclass(frozen=True)
class Refiner:
    """What takes over. Text encoders, tokenizers and VAE are the other pipeline's, as the refiner was trained with.

    Attributes:
        name: what the user called it.
        modules: by their names in a pipeline.
        scores: it is told how beautiful the picture shall be, as SDXL's own refiner is.
        empty_is_zeros: no negative prompt is zeros instead of an empty text.
    """

    name: str
    modules: dict[str, Any]
    scores: bool
    empty_is_zeros: bool

    def pipeline(self, kind: Any) -> Any:
        """A pipeline of this class that takes over."""
        made = kind(
            **self.modules,
            requires_aesthetics_score=self.scores,
            force_zeros_for_empty_prompt=self.empty_is_zeros,
            add_watermarker=False,
        )
        made.set_progress_bar_config(disable=True)
        return made


def open_refiner(
    name: str,
    pipe: Any,
    parts: PipelineParts,
    dtype: torch.dtype,
    scheduler: str | None,
    notify: Callable[[str], None],
    warn: Callable[[str], None],
) -> Refiner:
    """The refiner, whose U-Net streams under the budget of the other pipeline's parts; they close it.

    Args:
        name: a directory in diffusers layout or a hub id; of it only the U-Net's weights are used.
        pipe: that it takes over from.
        parts: of that pipeline.
        dtype: to compute in.
        scheduler: by name; None: the refiner's own.
        notify: told of what takes time, a line each.
        warn: told what about the weights doesn't fit, a line each.

    Raises:
        ModelError: it is no refiner for this model, or can't be fetched.
        WeightsFileError: a file can't be used.
        WeightsMismatchError: the weights don't fit.
        BudgetError: the budget can't hold its largest block.
    """
    if Path(name).is_file():
        problem = "this is a file, and a refiner can't be taken from a single file."
        raise ModelError(name, problem, f"Give a directory in diffusers layout, or a hub id: {_OF_SDXL}.")
    model = find_model(name, with_unet=True, notify=notify, with_rest=False)
    config = model.config("unet")
    unet = _empty(name, config)
    first = pipe.text_encoder if model.part_class("text_encoder") is not None else None
    index = read_json(name, model.root / "model_index.json")
    scores = bool(index.get("requires_aesthetics_score", False))
    _require_fitting(name, unet, [encoder for encoder in (first, pipe.text_encoder_2) if encoder is not None], scores)
    if not model.unet_files():
        raise ModelError(name, "it has no U-Net in safetensors.", "Was its download interrupted?")
    modules = {
        "vae": pipe.vae,
        "text_encoder": first,
        "text_encoder_2": pipe.text_encoder_2,
        "tokenizer": pipe.tokenizer if first is not None else None,
        "tokenizer_2": pipe.tokenizer_2,
        "unet": unet,
        "scheduler": _scheduler(model, index, scheduler),
    }
    source = open_weights(None, model.unet_files(), expected_tensors(unet), strict=True, io="auto", warn=warn)
    side = pixels_per_latent(pipe.vae)

    def needs(meter: ActivationMeter, size: PictureSize) -> int:
        shape = StepShape(-(-size.width // side), -(-size.height // side), size.batch)
        return meter((), unet_inputs(config, dtype, shape))

    blocks = unet_blocks(unet)
    parts.add(_NAME, unet, blocks, execution_order(blocks), source, needs)
    return Refiner(name, modules, scores, bool(index.get("force_zeros_for_empty_prompt", True)))


def _empty(name: str, config: dict[str, Any]) -> Any:
    try:
        return empty_unet(config)
    except _CONFIG_FAULTS as error:
        problem = f"its unet/config.json describes no U-Net that can be built ({type(error).__name__}: {error})."
        raise ModelError(name, problem) from error


def _require_fitting(name: str, unet: Any, encoders: list[Any], scores: bool) -> None:
    """Returns only if the U-Net understands what the text encoders say."""
    said = sum(int(encoder.config.hidden_size) for encoder in encoders)
    understood = unet.config.cross_attention_dim
    if understood != said:
        raise ModelError(
            name,
            f"it doesn't fit this model: its U-Net takes {understood!a} numbers for each word, the text encoders give "
            f"{said}.",
            f"SDXL's own is {_OF_SDXL}.",
        )
    pooled = int(encoders[-1].config.projection_dim)
    told = (5 if scores else 6) * (unet.config.addition_time_embed_dim or 0) + pooled
    wanted = unet.config.projection_class_embeddings_input_dim
    if wanted != told:
        raise ModelError(
            name,
            f"it doesn't fit this model: its U-Net takes {wanted!a} numbers about a picture, the pipeline has {told}.",
            "Its model_index.json says with requires_aesthetics_score which of two kinds it is.",
        )


def _scheduler(model: ModelDirectory, index: dict[str, Any], wanted: str | None) -> Any:
    try:
        kind = getattr(diffusers, index["scheduler"][1])
        own = kind.from_pretrained(str(model.root), subfolder="scheduler", local_files_only=True)
    except (OSError, *_CONFIG_FAULTS) as error:
        raise ModelError(model.name, f"its scheduler can't be loaded ({error}).", "Is the model complete?") from error
    return own if wanted is None else make_scheduler(wanted, own)
