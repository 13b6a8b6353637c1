"""A pipeline's weights written in the original layout, the slow and obvious way: what the maps are tested against."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from streamer.models.demo import demo_directory

Tensors = dict[str, torch.Tensor]
UNET = "model.diffusion_model."
CLIP = "conditioner.embedders.0.transformer."
OPEN_CLIP = "conditioner.embedders.1.model."
VAE = "first_stage_model."

_RESNET = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv_shortcut", "skip_connection"),
]
_OUTER = [
    ("conv_in", "input_blocks.0.0"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
]


def moved(tensors: Tensors, here: str, there: str, names: list[tuple[str, str]] | None = None) -> Tensors:
    """Those below one module, under another, with the modules inside renamed."""
    found = {}
    for key, tensor in tensors.items():
        if key.startswith(here + "."):
            rest = key[len(here) :]
            for old, new in names or []:
                rest = rest.replace(f".{old}.", f".{new}.")
            found[there + rest] = tensor
    return found


def original_unet(tensors: Tensors, layers: int) -> Tensors:
    """Of a U-Net with so many layers in each level down, and one more in each level up."""
    found: Tensors = {}
    for old, new in _OUTER:
        found |= moved(tensors, old, new)
    per_level = layers + 1
    for block in range(1, 20):
        level, layer = (block - 1) // per_level, (block - 1) % per_level
        here, there = f"down_blocks.{level}", f"input_blocks.{block}"
        found |= moved(tensors, f"{here}.resnets.{layer}", f"{there}.0", _RESNET)
        found |= moved(tensors, f"{here}.attentions.{layer}", f"{there}.1")
        if layer == layers:
            found |= moved(tensors, f"{here}.downsamplers.0.conv", f"{there}.0.op")
    found |= moved(tensors, "mid_block.resnets.0", "middle_block.0", _RESNET)
    found |= moved(tensors, "mid_block.attentions.0", "middle_block.1")
    found |= moved(tensors, "mid_block.resnets.1", "middle_block.2", _RESNET)
    for block in range(20):
        level, layer = block // per_level, block % per_level
        here, there = f"up_blocks.{level}", f"output_blocks.{block}"
        found |= moved(tensors, f"{here}.resnets.{layer}", f"{there}.0", _RESNET)
        attention = moved(tensors, f"{here}.attentions.{layer}", f"{there}.1")
        found |= attention
        if layer == layers:
            found |= moved(tensors, f"{here}.upsamplers.0.conv", f"{there}.{2 if attention else 1}.conv")
    assert len(found) == len(tensors)
    return found


def original_vae(tensors: Tensors) -> Tensors:
    """Of a VAE of any number of levels."""
    shortcut = [("conv_shortcut", "nin_shortcut")]
    levels = len({key.split(".")[2] for key in tensors if key.startswith("decoder.up_blocks.")})
    found = moved(tensors, "quant_conv", "quant_conv") | moved(tensors, "post_quant_conv", "post_quant_conv")
    for half, way, sampler in (("encoder", "down", "downsample"), ("decoder", "up", "upsample")):
        found |= moved(tensors, f"{half}.conv_in", f"{half}.conv_in")
        found |= moved(tensors, f"{half}.conv_out", f"{half}.conv_out")
        found |= moved(tensors, f"{half}.conv_norm_out", f"{half}.norm_out")
        for level in range(levels):
            here = f"{half}.{way}_blocks.{level}"
            there = f"{half}.{way}.{level if way == 'down' else levels - 1 - level}"
            for layer in range(9):
                found |= moved(tensors, f"{here}.resnets.{layer}", f"{there}.block.{layer}", shortcut)
            found |= moved(tensors, f"{here}.{sampler}rs.0", f"{there}.{sampler}")
        for i in (0, 1):
            found |= moved(tensors, f"{half}.mid_block.resnets.{i}", f"{half}.mid.block_{i + 1}", shortcut)
        attention, there = f"{half}.mid_block.attentions.0", f"{half}.mid.attn_1"
        found |= moved(tensors, f"{attention}.group_norm", f"{there}.norm")
        for old, new in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
            for key, tensor in moved(tensors, f"{attention}.{old}", f"{there}.{new}").items():
                found[key] = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
    assert len(found) == len(tensors)
    return found


def original_clip(tensors: Tensors) -> Tensors:
    """Of the first text encoder."""
    return {f"text_model.{key.removeprefix('text_model.')}": tensor for key, tensor in tensors.items()}


def original_open_clip(tensors: Tensors) -> Tensors:
    """Of the second text encoder."""
    tensors = {key.removeprefix("text_model."): tensor for key, tensor in tensors.items()}
    found = {
        "positional_embedding": tensors["embeddings.position_embedding.weight"],
        "token_embedding.weight": tensors["embeddings.token_embedding.weight"],
        "ln_final.weight": tensors["final_layer_norm.weight"],
        "ln_final.bias": tensors["final_layer_norm.bias"],
        "text_projection": tensors["text_projection.weight"].t().contiguous(),
    }
    names = [
        ("layer_norm1", "ln_1"),
        ("layer_norm2", "ln_2"),
        ("fc1", "c_fc"),
        ("fc2", "c_proj"),
        ("self_attn", "attn"),
    ]
    for layer in {key.split(".")[2] for key in tensors if key.startswith("encoder.layers.")}:
        here, there = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for attribute in ("weight", "bias"):
            found[f"{there}.attn.in_proj_{attribute}"] = torch.cat(
                [tensors[f"{here}.self_attn.{x}_proj.{attribute}"] for x in "qkv"]
            )
        rest = {key: tensor for key, tensor in tensors.items() if not re.search(r"\.[qkv]_proj\.", key)}
        found |= moved(rest, here, there, names)
    return found


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    """All under one prefix."""
    return {prefix + key: tensor for key, tensor in tensors.items()}


def demo_tensors(part: str) -> Tensors:
    """Of a part of the demo, as they are packaged."""
    (file,) = (demo_directory() / part).glob("*.safetensors")
    return load_file(file)


def demo_checkpoint() -> Tensors:
    """The whole demo as fine-tunes are shared, with what else is found in such files."""
    layers = json.loads((demo_directory() / "unet" / "config.json").read_text())["layers_per_block"]
    return {
        **prefixed(UNET, original_unet(demo_tensors("unet"), layers)),
        **prefixed(CLIP, original_clip(demo_tensors("text_encoder"))),
        **prefixed(OPEN_CLIP, original_open_clip(demo_tensors("text_encoder_2"))),
        **prefixed(VAE, original_vae(demo_tensors("vae"))),
        f"{CLIP}text_model.embeddings.position_ids": torch.arange(77)[None],
        f"{OPEN_CLIP}logit_scale": torch.tensor(4.6),
        "denoiser.sigmas": torch.rand(1000),
    }


def save(tensors: Tensors, path: Path) -> Path:
    """As a safetensors file; returns its path."""
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, path)
    return path
