"""What people hang on a pipeline, on a streamed one: every picture equals that of the pipeline loaded whole."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLControlNetPipeline,
    T2IAdapter,
)
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.streamer.models.pairs import PICTURE, SIZE, images, quiet, same


def test_several_controlnets(pipe, whole):
    torch.manual_seed(0)
    controls = [
        ControlNetModel.from_unet(whole.unet, conditioning_embedding_out_channels=(16, 32, 96)).eval() for _ in range(2)
    ]
    with torch.no_grad():
        for parameter in (parameter for control in controls for parameter in control.parameters()):
            parameter.add_(0.01 * torch.randn_like(parameter))
    one, other = (quiet(StableDiffusionXLControlNetPipeline.from_pipe(p, controlnet=controls)) for p in (pipe, whole))
    arguments = {"image": [PICTURE, PICTURE], **SIZE}
    assert same(one, other, controlnet_conditioning_scale=[0.5, 0.7], **arguments)
    assert not np.array_equal(
        images(one, controlnet_conditioning_scale=[0.5, 0.7], **arguments),
        images(one, controlnet_conditioning_scale=[0.7, 0.5], **arguments),
    )


def test_a_t2i_adapter(pipe, whole):
    torch.manual_seed(0)
    adapter = T2IAdapter(
        in_channels=3, channels=[48, 96, 192], num_res_blocks=1, downscale_factor=8, adapter_type="full_adapter_xl"
    ).eval()
    one, other = (quiet(StableDiffusionXLAdapterPipeline.from_pipe(p, adapter=adapter)) for p in (pipe, whole))
    assert same(one, other, image=PICTURE, **SIZE)
    assert not np.array_equal(images(one, image=PICTURE, **SIZE), images(pipe, **SIZE))


def ip_adapter(unet: Any, image_dim: int = 32, tokens: int = 4) -> dict[str, dict[str, torch.Tensor]]:
    """A small one with random weights, as its files have them."""
    torch.manual_seed(0)
    width = unet.config.cross_attention_dim
    layers: dict[str, torch.Tensor] = {}
    crossing = [name for name in unet.attn_processors if not name.endswith("attn1.processor")]
    for number, name in enumerate(crossing):
        shape = unet.get_submodule(name.rsplit(".", 1)[0]).to_k.weight.shape
        for which in ("to_k_ip", "to_v_ip"):
            layers[f"{2 * number + 1}.{which}.weight"] = 0.1 * torch.randn(shape)
    projection = {
        "proj.weight": 0.1 * torch.randn(tokens * width, image_dim),
        "proj.bias": torch.zeros(tokens * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    return {"image_proj": projection, "ip_adapter": layers}


def test_an_ip_adapter_loaded_scaled_and_unloaded(pipe, whole):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 37, "projection_dim": 32, "image_size": 32, "patch_size": 8}
    encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(num_attention_heads=4, num_hidden_layers=2, **sizes))
    weights = ip_adapter(whole.unet)
    for each in (pipe, whole):
        each.register_modules(image_encoder=encoder.eval(), feature_extractor=CLIPImageProcessor(size=32, crop_size=32))
        each.load_ip_adapter(copy.deepcopy(weights), subfolder="", weight_name="x", image_encoder_folder=None)
    pictures = []
    for scale in (0.7, 0.2):
        for each in (pipe, whole):
            each.set_ip_adapter_scale(scale)
        assert same(pipe, whole, ip_adapter_image=PICTURE, **SIZE)
        pictures.append(images(pipe, ip_adapter_image=PICTURE, **SIZE))
    assert not np.array_equal(*pictures)
    for each in (pipe, whole):
        each.unload_ip_adapter()
    assert same(pipe, whole, **SIZE)


@pytest.mark.parametrize("encoders", [(1,), (1, 2)])
def test_textual_inversion_into_one_encoder_or_both_and_out_again(demo_lzr2, encoders):
    import streamer
    from tests.streamer.models.pairs import BUDGET, whole_pipeline

    torch.manual_seed(0)
    pipe = quiet(streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu"))
    whole = whole_pipeline()
    before = images(whole, **SIZE)
    for number in encoders:
        names = {1: ("text_encoder", "tokenizer"), 2: ("text_encoder_2", "tokenizer_2")}[number]
        width = getattr(whole, names[0]).config.hidden_size
        vectors = {"vectors": torch.randn(2, width)}
        for each in (pipe, whole):
            encoder, tokenizer = (getattr(each, name) for name in names)
            each.load_textual_inversion(vectors, token="<thing>", text_encoder=encoder, tokenizer=tokenizer)
    assert same(pipe, whole, prompt="<thing> sun", **SIZE)
    assert same(pipe, whole, **SIZE)
    assert not np.array_equal(images(pipe, prompt="<thing> sun", **SIZE), before)
    for number in encoders:
        for each in (pipe, whole):
            encoder, tokenizer = (
                getattr(each, name + ("_2" if number == 2 else "")) for name in ("text_encoder", "tokenizer")
            )
            each.unload_textual_inversion("<thing>", text_encoder=encoder, tokenizer=tokenizer)
    assert np.array_equal(images(pipe, **SIZE), before)
    pipe.streaming.close()
