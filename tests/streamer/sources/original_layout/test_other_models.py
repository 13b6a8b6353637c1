"""Files that aren't SDXL are named; what may be SDXL in whole or in part never is."""

from __future__ import annotations

import pytest

from streamer.sources.original_layout.other_models import other_model
from tests.streamer.original import demo_checkpoint, demo_tensors

UNET = "model.diffusion_model."


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["lora_unet_down_blocks_0.lora_down.weight", "lora_unet_down_blocks_0.lora_up.weight"], "LoRA"),
        (["unet.down_blocks.0.attn.to_q.lora_A.weight", "unet.down_blocks.0.attn.to_q.lora_B.weight"], "LoRA"),
        (["lycoris_unet.hada_w1_a", "lycoris_unet.alpha", "more"], "LoRA"),
        (["control_model.input_blocks.0.0.weight"], "ControlNet"),
        (["controlnet_cond_embedding.conv_in.weight", "conv_in.weight"], "ControlNet"),
        ([UNET + "double_blocks.0.img_attn.qkv.weight"], "Flux"),
        (["joint_blocks.0.x_block.attn.qkv.weight"], "Stable Diffusion 3"),
        ([UNET + "input_blocks.0.0.weight", "cond_stage_model.transformer.x"], "Stable Diffusion 1 or 2"),
        ([UNET + "input_blocks.0.0.weight", UNET + "out.2.weight"], "Stable Diffusion 1 or 2"),
        (["input_blocks.0.0.weight", "out.2.weight"], "Stable Diffusion 1 or 2"),
        (["encoder.conv_in.weight", "decoder.up.0.block.0.norm1.weight"], "VAE"),
    ],
)
def test_another_model_is_named(keys, words):
    assert words in other_model(keys)


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["conv_out.bias"],
        [UNET + "input_blocks.3.0.op.weight"],
        [UNET + "out.2.weight", UNET + "label_emb.0.0.weight", UNET + "input_blocks.0.0.weight"],
        ["anything"],
    ],
)
def test_what_may_be_sdxl_is_not(keys):
    assert other_model(keys) is None


def test_neither_is_the_demo_in_either_layout():
    assert other_model(demo_checkpoint()) is None
    assert other_model(demo_tensors("unet")) is None
