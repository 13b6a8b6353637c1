"""Names of the text encoders' tensors: the first as transformers has it, the second as OpenCLIP has.

OpenCLIP multiplies by queries, keys and values in one matrix, whose rows are one after the other.
"""

from __future__ import annotations

import re

from streamer.sources.place import Place

_MODEL = "text_model."  # left out of the names by newer versions of transformers
_OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", re.ASCII)
_IN_PROJ = {"self_attn.q_proj": 0, "self_attn.k_proj": 1, "self_attn.v_proj": 2}


def clip_place(name: str, prefix: str) -> Place:
    """Where the tensor of the first text encoder is.

    Args:
        name: in a `CLIPTextModel`.
        prefix: of all its keys.
    """
    return Place(prefix + _MODEL + name.removeprefix(_MODEL))


def open_clip_place(name: str, prefix: str) -> Place | None:
    """Where the tensor of the second text encoder is; None for a name that the layout doesn't know.

    Args:
        name: in a `CLIPTextModelWithProjection`.
        prefix: of all its keys.
    """
    name = name.removeprefix(_MODEL)
    if name == "text_projection.weight":
        return Place(f"{prefix}text_projection", transposed=True)
    if name in _OPEN_CLIP:
        return Place(prefix + _OPEN_CLIP[name])
    match = _LAYER.fullmatch(name)
    if match is None:
        return None
    layer, module, attribute = f"{prefix}transformer.resblocks.{match[1]}", match[2], match[3]
    if module in _IN_PROJ:
        return Place(f"{layer}.attn.in_proj_{attribute}", part=_IN_PROJ[module], parts=len(_IN_PROJ))
    return Place(f"{layer}.{_OPEN_CLIP_LAYER[module]}.{attribute}") if module in _OPEN_CLIP_LAYER else None
