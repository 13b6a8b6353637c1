"""ControlNets, T2I-Adapter, IP-Adapter and textual inversion on a streamed pipeline: the stock one's pixels."""

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
    StableDiffusionXLPipeline,
    T2IAdapter,
)
from safetensors.torch import save_file
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

import streamer
from streamer.errors import PartBudgetError, SettingError
from tests.streamer.models.drawing_alike import BUDGET, DEMO, PICTURE, images, quiet, same, scrambled

WIDTHS = (48, 96, 192, 192)
CROSS = 192


@pytest.fixture
def both(demo_lzr2) -> Any:
    """Pipelines whose tokenizers and text encoders a test may change."""
    theirs = quiet(StableDiffusionXLPipeline.from_pretrained(DEMO, torch_dtype=torch.float32, add_watermarker=False))
    ours = quiet(streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu"))
    yield ours, theirs
    ours.streaming.close()


@pytest.fixture(scope="module")
def controlnet(stock) -> Any:
    torch.manual_seed(0)
    return scrambled(ControlNetModel.from_unet(stock.unet, conditioning_embedding_out_channels=(16, 32, 96)))


def test_several_controlnets_one_of_them_under_the_pipelines_budget(streamed, stock, controlnet, tmp_path):
    plain = images(stock)
    path = tmp_path / "control.safetensors"
    save_file(controlnet.state_dict(), path)
    other = scrambled(copy.deepcopy(controlnet))
    kind, arguments = StableDiffusionXLControlNetPipeline, {"controlnet_conditioning_scale": [0.7, 0.4]}
    arguments["image"] = [PICTURE, PICTURE.rotate(90)]
    want = images(quiet(kind.from_pipe(stock, controlnet=[controlnet, other])), **arguments)
    assert not np.array_equal(want, plain)
    mine = copy.deepcopy(controlnet)
    with streamer.attach(mine, path, share=streamed.streaming, device="cpu") as handle:
        ours = quiet(kind.from_pipe(streamed, controlnet=[mine, other]))
        held = []
        watches = [
            module.register_forward_hook(lambda *_: held.append(on_device(streamed, handle)))
            for module in (mine, streamed.unet)
        ]
        for _ in range(2):
            assert np.array_equal(images(ours, **arguments), want)
        for watch in watches:
            watch.remove()
        assert 0 < max(held) <= streamed.streaming.budget_nbytes
        assert handle.plan.streamed_nbytes + handle.plan.resident_nbytes > 0


def on_device(pipe: Any, handle: streamer.StreamHandle) -> int:
    return handle.device_nbytes + sum(each.device_nbytes for each in pipe.streaming.handles.values())


def test_a_budget_is_shared_or_of_ones_own(streamed, controlnet, tmp_path):
    path = tmp_path / "control.safetensors"
    save_file(controlnet.state_dict(), path)
    with pytest.raises(SettingError, match="Leave vram_budget out"):
        streamer.attach(copy.deepcopy(controlnet), path, vram_budget="1GB", share=streamed.streaming, device="cpu")
    mine, before = copy.deepcopy(controlnet), streamed.streaming.share.nbytes
    with streamer.attach(mine, path, share=streamed.streaming, device="cpu"):
        streamed.streaming.share.nbytes = 1000
        ours = quiet(StableDiffusionXLControlNetPipeline.from_pipe(streamed, controlnet=mine))
        with pytest.raises(PartBudgetError):
            images(ours, image=PICTURE)
        streamed.streaming.share.nbytes = before
        images(ours, image=PICTURE)


def test_a_t2i_adapter(streamed, stock):
    torch.manual_seed(0)
    adapter = T2IAdapter(
        in_channels=3, channels=list(WIDTHS), num_res_blocks=1, downscale_factor=8, adapter_type="full_adapter_xl"
    )
    kind, arguments = StableDiffusionXLAdapterPipeline, {"image": PICTURE, "adapter_conditioning_scale": 0.8}
    theirs = quiet(kind.from_pipe(stock, adapter=scrambled(adapter)))
    ours = quiet(kind.from_pipe(streamed, adapter=adapter))
    assert same(ours, theirs, **arguments)
    assert not np.array_equal(images(theirs, **arguments), images(stock))


def ip_adapter(unet: Any, image_width: int = 24, tokens: int = 4) -> dict[str, Any]:
    """A state dict as of an IP-Adapter for this U-Net."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return 0.2 * torch.randn(shape, generator=generator)

    weights, number = {}, 1
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            width = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            weights[f"{number}.to_k_ip.weight"] = noise(width, CROSS)
            weights[f"{number}.to_v_ip.weight"] = noise(width, CROSS)
            number += 2
    projection = {
        "proj.weight": noise(tokens * CROSS, image_width),
        "proj.bias": noise(tokens * CROSS),
        "norm.weight": noise(CROSS),
        "norm.bias": noise(CROSS),
    }
    return {"image_proj": projection, "ip_adapter": weights}


def image_encoder(width: int = 24) -> Any:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16,
        projection_dim=width,
    )  # fmt: skip
    return CLIPVisionModelWithProjection(config).eval()


def test_an_ip_adapter_loaded_scaled_and_unloaded(both):
    streamed, stock = both
    plain, weights, encoder = images(stock), ip_adapter(stock.unet), image_encoder()
    meter = streamed.streaming.activations("unet")
    before, held = meter_reading(streamed, meter), streamed.streaming.unet.in_memory_nbytes
    for pipe in (streamed, stock):
        pipe.register_modules(image_encoder=encoder, feature_extractor=CLIPImageProcessor(size=32, crop_size=32))
        pipe.load_ip_adapter(copy.deepcopy(weights), subfolder=None, weight_name=None)
    pictures = []
    for scale in (1.0, 0.3, {"up": {"block_0": [0.0, 1.0]}}):
        for pipe in (streamed, stock):
            pipe.set_ip_adapter_scale(scale)
        pictures.append(images(stock, ip_adapter_image=PICTURE))
        assert np.array_equal(images(streamed, ip_adapter_image=PICTURE), pictures[-1])
    assert len({picture.tobytes() for picture in [plain, *pictures]}) == 4
    assert streamed.streaming.unet.in_memory_nbytes > held  # its weights count
    embedding = {"image_embeds": [torch.empty(2, 1, 24, device="meta")]}
    assert meter_reading(streamed, meter, **embedding) > before  # what the adapter computes counts
    for pipe in (streamed, stock):
        pipe.unload_ip_adapter()
    assert np.array_equal(images(streamed), plain)
    assert meter_reading(streamed, meter) == before
    assert streamed.streaming.unet.in_memory_nbytes == held


def test_an_ip_adapter_that_was_there_before_stays_in_memory_and_the_unet_streams(demo_safetensors):
    arguments = {"torch_dtype": torch.float32, "add_watermarker": False}
    ours, theirs = (quiet(StableDiffusionXLPipeline.from_pretrained(DEMO, **arguments)) for _ in range(2))
    weights, encoder = ip_adapter(theirs.unet), image_encoder()
    for pipe in (ours, theirs):
        pipe.register_modules(image_encoder=encoder, feature_extractor=CLIPImageProcessor(size=32, crop_size=32))
        pipe.load_ip_adapter(copy.deepcopy(weights), subfolder=None, weight_name=None)
    with streamer.attach(ours.unet, demo_safetensors, vram_budget="14MB", device="cpu") as handle:
        for _ in range(2):
            want = images(theirs, ip_adapter_image=PICTURE)
            assert np.array_equal(images(ours, ip_adapter_image=PICTURE), want)
        assert handle.in_memory_nbytes > 0
        assert handle.device_nbytes + handle.in_memory_nbytes <= 14_000_000
        for pipe in (ours, theirs):
            pipe.unload_ip_adapter()
        assert np.array_equal(images(ours), images(theirs))


def meter_reading(pipe: Any, meter: Any, **conditions: Any) -> int:
    time, text = torch.empty(2, 6, device="meta"), torch.empty(2, 128, device="meta")
    reading: int = meter(
        (torch.empty(2, 4, 16, 16, device="meta"), torch.empty((), device="meta")),
        {
            "encoder_hidden_states": torch.empty(2, 77, CROSS, device="meta"),
            "added_cond_kwargs": {"text_embeds": text, "time_ids": time, **conditions},
        },
    )
    return reading


def test_textual_inversion_of_both_encoders_loaded_and_unloaded(both):
    ours, theirs = both
    plain = images(theirs)
    generator = torch.Generator().manual_seed(0)
    vectors = {"": torch.randn(2, 64, generator=generator), "_2": torch.randn(2, 128, generator=generator)}
    for pipe in both:
        for suffix, vector in vectors.items():
            names = {name: getattr(pipe, name + suffix) for name in ("tokenizer", "text_encoder")}
            pipe.load_textual_inversion({"<mine>": vector}, token="<mine>", **names)
    arguments = {"prompt": "sun in the style of <mine>", "negative_prompt": "star"}
    want = images(theirs, **arguments)
    assert np.array_equal(images(ours, **arguments), want)
    assert np.array_equal(images(ours, **arguments), want)
    assert not np.array_equal(want, images(theirs, prompt="sun in the style of", negative_prompt="star"))
    assert ours.text_encoder.get_input_embeddings().weight.isfinite().all()
    for pipe in both:
        for suffix in vectors:
            names = {name: getattr(pipe, name + suffix) for name in ("tokenizer", "text_encoder")}
            pipe.unload_textual_inversion("<mine>", **names)
    assert np.array_equal(images(ours), plain)
    assert len(ours.tokenizer) == len(theirs.tokenizer)


def test_embeddings_stream_until_somebody_asks_for_them(both):
    ours, theirs = both
    images(ours)
    streams = [len(ours.streaming.handles[part].plan.blocks[0].tensors) for part in ("text_encoder", "text_encoder_2")]
    asked = ours.text_encoder_2.get_input_embeddings().weight
    assert torch.equal(asked, theirs.text_encoder_2.get_input_embeddings().weight)
    now = [len(ours.streaming.handles[part].plan.blocks[0].tensors) for part in ("text_encoder", "text_encoder_2")]
    assert (now[0], now[1]) == (streams[0], streams[1] - 1)
    assert same(ours, theirs)
    assert torch.equal(asked, theirs.text_encoder_2.get_input_embeddings().weight)
