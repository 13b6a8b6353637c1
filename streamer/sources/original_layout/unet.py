"""Names of the U-Net's tensors: numbered levels of several layers become one row of numbered blocks.

There, ``input_blocks`` are the first convolution, then of each level its layers and its downsampler, all numbered
through; the parts of such a block are numbered too: the residual, the transformer if there is one, the upsampler.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

_OUTER = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_LAYER = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", re.ASCII)
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", re.ASCII)


def unet_names(keys: Collection[str]) -> dict[str, str]:
    """The name in the original layout of each tensor that has one there, without a prefix.

    How many levels there are, of how many layers and with which samplers, is seen from the keys.

    Args:
        keys: of all tensors of a `UNet2DConditionModel`.
    """
    layers = _Layers(keys)
    names = {key: _outer(key) or _middle(key) or layers.name(key) for key in keys}
    return {key: name for key, name in names.items() if name is not None}


class _Layers:
    """Counts a model's layers, to number them through."""

    def __init__(self, keys: Collection[str]) -> None:
        found = {match.group(1, 2, 3, 4) for match in map(_LAYER.fullmatch, keys) if match}
        self._counts = Counter((side, int(level), kind) for side, level, kind, _ in found)

    def name(self, key: str) -> str | None:
        """Of a tensor in a level on the way down or up; None if it is elsewhere or of a kind that isn't known."""
        match = _LAYER.fullmatch(key)
        if match is None:
            return None
        side, level, kind, number, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
        if kind == "resnets":
            inside = _renamed(rest, _RESNET)
            return inside and f"{self._block(side, level, number)}.0.{inside}"
        if kind == "attentions":
            return f"{self._block(side, level, number)}.1.{rest}"
        last = self._counts[side, level, "resnets"]
        conv = rest.removeprefix("conv.")
        if conv == rest or number:
            return None
        if kind == "downsamplers":
            return f"{self._block(side, level, last)}.0.op.{conv}"
        before = 2 if self._counts[side, level, "attentions"] else 1
        return f"{self._block(side, level, last - 1)}.{before}.conv.{conv}"

    def _block(self, side: str, level: int, number: int) -> str:
        """The block that has this layer of the level; a downsampler is a block of its own after the layers."""
        counted = ("resnets", "downsamplers") if side == "down" else ("resnets",)
        before = sum(self._counts[side, i, kind] for i in range(level) for kind in counted)
        return f"input_blocks.{1 + before + number}" if side == "down" else f"output_blocks.{before + number}"


def _outer(key: str) -> str | None:
    return _renamed(key, _OUTER)


def _middle(key: str) -> str | None:
    match = _MIDDLE.fullmatch(key)
    if match is None:
        return None
    kind, number, rest = match[1], int(match[2]), match[3]
    if kind == "attentions":
        return f"middle_block.{2 * number + 1}.{rest}"
    inside = _renamed(rest, _RESNET)
    return inside and f"middle_block.{2 * number}.{inside}"


def _renamed(key: str, names: Mapping[str, str]) -> str | None:
    module, _, attribute = key.rpartition(".")
    return f"{names[module]}.{attribute}" if module in names else None
