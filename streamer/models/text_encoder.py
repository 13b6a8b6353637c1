"""SDXL's text encoders, streamed: modules without memory whose layers move as blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from streamer.config import StreamSettings
from streamer.errors import ModelError
from streamer.models.blocks import find_blocks
from streamer.models.config_faults import CONFIG_FAULTS
from streamer.models.part_weights import PartWeights, open_part
from streamer.models.turns import in_order_of_tree
from streamer.runtime.attach import StreamHandle, attach
from streamer.runtime.share import OnForward
from streamer.runtime.torch_names import own_buffers

_KINDS: Mapping[str, Any] = {
    "CLIPTextModel": CLIPTextModel,
    "CLIPTextModelWithProjection": CLIPTextModelWithProjection,
}
_PREFIX = "text_model."  # of the keys in files that older versions of the library wrote, or wants itself
_POSITIONS = "position_ids"


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
    except CONFIG_FAULTS as error:
        problem = f"its text encoder's config.json describes none that can be built ({type(error).__name__}: {error})."
        raise ModelError(name, problem) from error
    for owner in encoder.modules():
        for key, buffer in own_buffers(owner).items():
            if buffer is not None and key == _POSITIONS:
                own_buffers(owner)[key] = torch.arange(buffer.shape[-1]).expand(1, -1)
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
        for key, buffer in own_buffers(owner).items():
            if buffer is not None:
                own_buffers(owner)[key] = buffer.to(device)
    blocks = find_blocks(encoder, ("CLIPEncoderLayer",))
    order = in_order_of_tree(blocks)
    handle = attach(encoder, blocks, order, source, settings, device, dtype, asleep=True, on_forward=on_forward)
    _release_embeddings_when_asked_for(encoder, handle)
    return handle


def _release_embeddings_when_asked_for(encoder: Any, handle: StreamHandle) -> None:
    """Whoever asks for the tokens' embeddings reads or changes them, as textual inversion does: they then don't stream.

    The library itself asks for them only to do that; a forward doesn't.
    """
    ask = encoder.get_input_embeddings

    def get_input_embeddings() -> nn.Module:
        embeddings: nn.Module = ask()
        handle.release(embeddings)
        return embeddings

    encoder.__dict__["get_input_embeddings"] = get_input_embeddings


def _other_keys(key: str) -> tuple[str, ...]:
    return (_PREFIX + key, key.removeprefix(_PREFIX))
