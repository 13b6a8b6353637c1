"""What is shared in the same kind of file and isn't SDXL."""

from __future__ import annotations

from collections.abc import Collection

from streamer.sources.original_layout.checkpoint import unet_prefix

_ADAPTERS = ("lora", "lycoris", "loha", "lokr")
_CONTROL = ("control_model.", "input_hint_block.", "zero_convs.", "controlnet_")
_TRANSFORMERS = ("joint_blocks.", "double_blocks.", "single_blocks.")
_OLDER = "cond_stage_model."
_VAE = ("first_stage_model.", "encoder.", "decoder.", "quant_conv.", "post_quant_conv.")


def other_model(keys: Collection[str]) -> str | None:
    """What the file holds, in words, if it is surely something else than an SDXL model; else None.

    Args:
        keys: of the file.
    """
    if not keys:
        return None
    adapters = sum(any(word in key for word in _ADAPTERS) for key in keys)
    if 2 * adapters > len(keys):
        return "a LoRA, which changes a model and isn't one"
    if any(key.startswith(_CONTROL) for key in keys):
        return "a ControlNet, which guides a model and isn't one"
    prefix = unet_prefix(keys)
    if any(key.removeprefix("model.diffusion_model.").startswith(_TRANSFORMERS) for key in keys):
        return "a model of another architecture (Stable Diffusion 3, Flux or a relative), not of SDXL"
    # A whole U-Net is meant: of a few tensors over a base, nobody knows.
    whole = prefix is not None and f"{prefix}out.2.weight" in keys
    sized = f"{prefix}label_emb.0.0.weight" in keys  # SDXL is told the picture's size
    if any(key.startswith(_OLDER) for key in keys) or (whole and not sized):
        return "a model of Stable Diffusion 1 or 2, not of SDXL"
    if all(key.startswith(_VAE) for key in keys):
        return "a VAE without a U-Net"
    return None
