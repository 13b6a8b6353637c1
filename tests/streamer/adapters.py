"""Small random adapters for the demo model, written as they are shared: what streamed pipelines are tested with."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from streamer.models.demo import demo_directory

_NOISE = 0.05


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (64, 64)) -> Path:
    """A picture of smooth colours."""
    coarse = (np.random.default_rng(seed).random((5, 5, 3)) * 255).astype("uint8")
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def mask(path: Path, size: tuple[int, int] = (64, 64)) -> Path:
    """White in the right half."""
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[:, size[0] // 2 :] = 255
    Image.fromarray(pixels).save(path)
    return path


def demo_pipe() -> Any:
    """The demo by diffusers alone, loaded whole."""
    pipe = StableDiffusionXLPipeline.from_pretrained(
        str(demo_directory()), torch_dtype=torch.float32, add_watermarker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def shaken(module: Any, seed: int) -> Any:
    """The module with noise added to its parameters: zeros would hide what isn't used."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * _NOISE)
    return module.eval()


def controlnet(folder: Path, seed: int = 0) -> Path:
    """A directory as `save_pretrained` writes it."""
    unet = UNet2DConditionModel.from_pretrained(demo_directory() / "unet", torch_dtype=torch.float32)
    made = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 96))
    shaken(made, seed).save_pretrained(folder)
    return folder


def lora(folder: Path, name: str, seed: int = 0, *, text: bool = True, alpha: int = 8) -> Path:
    """A file as diffusers writes it: of the U-Net, and of the first text encoder; its header says alpha."""
    pipe = demo_pipe()
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    config = {"r": 4, "lora_alpha": alpha, "init_lora_weights": False}
    torch.manual_seed(seed)
    pipe.unet.add_adapter(LoraConfig(target_modules=targets, **config))
    layers: dict[str, Any] = {"unet_lora_layers": get_peft_model_state_dict(pipe.unet)}
    if text:
        pipe.text_encoder.add_adapter(LoraConfig(target_modules=["q_proj", "v_proj"], **config))
        layers["text_encoder_lora_layers"] = get_peft_model_state_dict(pipe.text_encoder)
    if "unet_lora_adapter_metadata" in inspect.signature(pipe.save_lora_weights).parameters:
        for part in ["unet", *(["text_encoder"] if text else [])]:
            layers[f"{part}_lora_adapter_metadata"] = getattr(pipe, part).peft_config["default"].to_dict()
    pipe.save_lora_weights(folder, weight_name=name, **layers)
    return folder / name


def kohya_lora(path: Path, seed: int = 0, rank: int = 2) -> Path:
    """A file as most LoRAs are shared: names with underscores, and an alpha for each layer."""
    unet = UNet2DConditionModel.from_pretrained(demo_directory() / "unet", torch_dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, module in unet.named_modules():
        if isinstance(module, torch.nn.Linear) and "attn" in name:
            key = "lora_unet_" + name.replace(".", "_")
            rows, columns = module.weight.shape
            tensors[f"{key}.lora_down.weight"] = torch.randn(rank, columns, generator=generator) * 0.2
            tensors[f"{key}.lora_up.weight"] = torch.randn(rows, rank, generator=generator) * 0.2
            tensors[f"{key}.alpha"] = torch.tensor(1.0)
    save_file(tensors, path)
    return path


def image_encoder(folder: Path, projection: int = 24) -> Path:
    """A directory with a CLIP that sees pictures of 32 pixels."""
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        projection_dim=projection,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    torch.manual_seed(1)
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def ip_adapter(folder: Path, projection: int = 24) -> Path:
    """A file beside its image encoder."""
    unet = UNet2DConditionModel.from_pretrained(demo_directory() / "unet", torch_dtype=torch.float32)
    generator = torch.Generator().manual_seed(2)
    width = unet.config.cross_attention_dim
    tensors = {
        "image_proj.proj.weight": torch.randn(4 * width, projection, generator=generator) / projection**0.5,
        "image_proj.proj.bias": torch.randn(4 * width, generator=generator) * _NOISE,
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
    number = 1
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            shape = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape
            for matrix in ("to_k_ip", "to_v_ip"):
                tensors[f"ip_adapter.{number}.{matrix}.weight"] = torch.randn(shape, generator=generator) / width**0.5
            number += 2
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "ip.safetensors")
    image_encoder(folder / "image_encoder", projection)
    return folder / "ip.safetensors"


def refiner(folder: Path, seed: int = 3) -> Path:
    """A directory as SDXL's refiner's: one text encoder, told how beautiful the picture shall be."""
    demo = demo_directory()
    folder.mkdir(parents=True)
    index = json.loads((demo / "model_index.json").read_text())
    index |= {
        "_class_name": "StableDiffusionXLImg2ImgPipeline",
        "text_encoder": [None, None],
        "tokenizer": [None, None],
        "requires_aesthetics_score": True,
        "force_zeros_for_empty_prompt": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    for part in ("text_encoder_2", "tokenizer_2", "scheduler", "vae"):
        shutil.copytree(demo / part, folder / part)
    config = json.loads((demo / "unet" / "config.json").read_text())
    config |= {"cross_attention_dim": 128, "projection_class_embeddings_input_dim": 128 + 5 * 32}
    torch.manual_seed(seed)
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    return folder
