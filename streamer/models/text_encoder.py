"""SDXL's text encoders, streamed: modules without memory whose layers move as blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from streamer.config import StreamSettings
from streamer.errors import ModelError
from streamer.models.blocks import find_blocks
from streamer.models.embeddings import release_before_resizing
from streamer.models.part_weights import PartWeights, open_part
from streamer.models.turns import in_order_of_tree
from streamer.runtime.attach import StreamHandle, attach
from streamer.runtime.share import OnForward

_KINDS: Mapping[str, Any] = {
    "CLIPTextModel": CLIPTextModel,
    "CLIPTextModelWithProjection": CLIPTextModelWithProjection,
}
_PREFIX = "text_model."  # of the keys in files that older versions of the library wrote, or wants itself
_POSITIONS = "position_ids"
_CONFIG_FAULTS = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, StrictDataclassError
)  # fmt: skip


def empty_text_encoder(kind: str, config: Mapping[str, Any], name: str) -> nn.Module:
    """A text encoder of this configuration whose parameters have shapes and no memory.

    Args:
        kind: class name, as in a pipeline's ``model_index.json``.
        config: as in its ``config.json``.
        name: of the model, for errors.

    Raises:
        ModelError: it is of no kind that SDXL has, or the configuration makes no sense.
    """
    if kind not in _KINDS:
        raise ModelError(name, f"its text encoder is a {kind!a}.", f"SDXL's are {' and '.join(_KINDS)}.")
    try:
        with torch.device("meta"):
            encoder: nn.Module = _KINDS[kind](CLIPTextConfig(**config))
    except _CONFIG_FAULTS as error:
        problem = f"its text encoder's config.json describes none that can be built ({type(error).__name__}: {error})."
        raise ModelError(name, problem) from error
    for owner in encoder.modules():
        for key, buffer in owner._buffers.items():
            if buffer is not None and key == _POSITIONS:
                owner._buffers[key] = torch.arange(buffer.shape[-1]).expand(1, -1)
    return encoder.eval()


def stream_text_encoder(
    encoder: nn.Module,
    weights: PartWeights,
    settings: StreamSettings,
    device: torch.device,
    dtype: torch.dtype,
    on_forward: OnForward,
) -> StreamHandle:
    """The text encoder runs with weights that stream; until then it takes no device memory.

    Args:
        encoder: as `empty_text_encoder` gives it.
        weights: all of its.
        settings: budgets and threads.
        device: to compute on.
        dtype: to compute in.
        on_forward: told of the arguments before each forward.

    Raises:
        WeightsFileError: a file can't be used.
        WeightsMismatchError: they aren't all there.
    """
    source = open_part(weights, encoder, _other_keys)
    for owner in encoder.modules():
        for key, buffer in owner._buffers.items():
            if buffer is not None:
                owner._buffers[key] = buffer.to(device)
    blocks = find_blocks(encoder, ("CLIPEncoderLayer",))
    order = in_order_of_tree(blocks)
    handle = attach(encoder, blocks, order, source, settings, device, dtype, asleep=True, on_forward=on_forward)
    release_before_resizing(encoder, handle)
    return handle


def _other_keys(key: str) -> tuple[str, ...]:
    return (_PREFIX + key, key.removeprefix(_PREFIX))
