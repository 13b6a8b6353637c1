"""Names of the VAE's tensors: the decoder's levels are numbered from its end, attention is made of convolutions."""

from __future__ import annotations

import re

from streamer.sources.place import Place

_NAMES = (
    (re.compile(r"(.+)\.down_blocks\.(\d+)\.resnets\.(\d+)\.", re.ASCII), r"\1.down.\2.block.\3."),
    (re.compile(r"(.+)\.down_blocks\.(\d+)\.downsamplers\.0\.", re.ASCII), r"\1.down.\2.downsample."),
    (re.compile(r"(.+)\.mid_block\.attentions\.0\.group_norm\."), r"\1.mid.attn_1.norm."),
    (re.compile(r"(.+)\.mid_block\.attentions\.0\.to_([qkv])\."), r"\1.mid.attn_1.\2."),
    (re.compile(r"(.+)\.mid_block\.attentions\.0\.to_out\.0\."), r"\1.mid.attn_1.proj_out."),
    (re.compile(r"(.+)\.conv_norm_out\."), r"\1.norm_out."),
    (re.compile(r"(.+)\.(conv_in|conv_out)\."), r"\1.\2."),
    (re.compile(r"(quant_conv|post_quant_conv)\."), r"\1."),
)
_UP = re.compile(r"decoder\.up_blocks\.(\d+)\.(resnets\.(\d+)|upsamplers\.0)\.(.+)", re.ASCII)
_MID = re.compile(r"(.+)\.mid_block\.resnets\.(\d+)\.(.+)", re.ASCII)


def vae_place(name: str, levels: int, prefix: str) -> Place | None:
    """Where the VAE's tensor is; None for a name that the layout doesn't know.

    Args:
        name: in an `AutoencoderKL`.
        levels: of the decoder.
        prefix: of all the VAE's keys.
    """
    found = _name(name, levels)
    if found is None:
        return None
    flat = found.endswith(".weight") and re.search(r"\.mid\.attn_1\.(q|k|v|proj_out)\.", found) is not None
    return Place(prefix + found.replace(".conv_shortcut.", ".nin_shortcut."), flat=flat)


def _name(name: str, levels: int) -> str | None:
    up = _UP.fullmatch(name)
    if up:
        level = levels - 1 - int(up[1])
        inside = "upsample" if up[3] is None else f"block.{up[3]}"
        return f"decoder.up.{level}.{inside}.{up[4]}" if level >= 0 else None
    middle = _MID.fullmatch(name)
    if middle:
        return f"{middle[1]}.mid.block_{int(middle[2]) + 1}.{middle[3]}"
    for pattern, there in _NAMES:
        match = pattern.match(name)
        if match:
            return match.expand(there) + name[match.end() :]
    return None
