"""A single-file checkpoint in the original layout: it draws what a directory draws, or it is said what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import lzr2
from streamer.errors import ModelError, WeightsFileError, WeightsMismatchError
from streamer.models import open as opening
from streamer.models.checkpoint import own_parts
from streamer.models.demo import demo_directory
from streamer.models.open import SDXL_BASE, PipelineOptions, open_pipeline
from streamer.models.pipeline import Request
from tests.streamer.original import CLIP, OPEN_CLIP, UNET, VAE, Tensors, demo_checkpoint, demo_tensors, save

REQUEST = Request("red apple", "blue", seed=3, steps=2, guidance=2.5, width=64, height=64)


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return demo_checkpoint()


@pytest.fixture(scope="module")
def checkpoint(tensors, tmp_path_factory) -> Path:
    return save(tensors, tmp_path_factory.mktemp("single") / "dreamshaper.safetensors")


@pytest.fixture(scope="module")
def expected(demo_safetensors) -> np.ndarray:
    return drawn(demo_safetensors)


@pytest.fixture(scope="module")
def small_files(tmp_path_factory) -> Path:
    """The demo's model directory as the hub would give it without any weights."""
    root = tmp_path_factory.mktemp("small") / "model"
    shutil.copytree(demo_directory(), root, ignore=shutil.ignore_patterns("*.safetensors"))
    return root


def drawn(weights: Path, **options: object) -> np.ndarray:
    chosen = PipelineOptions(weights=weights, device="cpu", **options)
    with open_pipeline(chosen, lambda line: None) as pipeline:
        return np.asarray(pipeline.generate(REQUEST))


def without(tensors: Tensors, *prefixes: str) -> Tensors:
    return {key: tensor for key, tensor in tensors.items() if not key.startswith(prefixes)}


def only(tensors: Tensors, prefix: str) -> Tensors:
    return {key: tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def refused(path: Path, kind: type[Exception], **options: object):
    with pytest.raises(kind) as caught, open_pipeline(PipelineOptions(weights=path, **options), lambda line: None):
        pass
    return caught.value


@pytest.mark.parametrize("workers", [0, 2])
def test_the_picture_is_that_of_the_directory_pixel_for_pixel(checkpoint, expected, workers):
    assert np.array_equal(drawn(checkpoint, workers=workers), expected)


def test_a_model_directory_without_any_weights_is_enough(checkpoint, small_files, expected):
    assert np.array_equal(drawn(checkpoint, model=str(small_files)), expected)


@pytest.mark.parametrize("prefix", [UNET, ""])
def test_a_bare_unet_is_enough_for_a_model_with_the_rest(tensors, tmp_path, expected, prefix):
    unet = {prefix + key.removeprefix(UNET): tensor for key, tensor in only(tensors, UNET).items()}
    assert np.array_equal(drawn(save(unet, tmp_path / "unet.safetensors")), expected)


def test_as_lzr2_it_draws_the_same(tensors, tmp_path, expected):
    weights = {key: t.numpy() for key, t in tensors.items() if t.dtype == torch.float16}
    lzr2.save_file(weights, tmp_path / "w.lzr2")
    assert np.array_equal(drawn(tmp_path / "w.lzr2"), expected)


def test_a_base_may_be_one_and_its_parts_are_used(checkpoint, small_files, tmp_path, expected):
    part = demo_tensors("unet")["conv_out.bias"].numpy()
    lzr2.save_file({"conv_out.bias": part}, tmp_path / "part.lzr2")
    assert np.array_equal(drawn(tmp_path / "part.lzr2", base=checkpoint, model=str(small_files)), expected)


@pytest.mark.parametrize(("prefix", "part"), [(CLIP, "text_encoder"), (OPEN_CLIP, "text_encoder_2"), (VAE, "vae")])
def test_its_own_parts_win_over_the_models_and_what_it_lacks_is_the_models(
    tensors, tmp_path, small_files, expected, prefix, part
):
    changed = {k: t * 1.5 if k.startswith(prefix) and t.dtype == torch.float16 else t for k, t in tensors.items()}
    other = drawn(save(changed, tmp_path / "changed.safetensors"), model=str(demo_directory()))
    assert not np.array_equal(other, expected)
    lacking = save(without(tensors, prefix), tmp_path / "lacking.safetensors")
    assert np.array_equal(drawn(lacking, model=str(demo_directory())), expected)
    assert f"its {part} has no weights" in str(refused(lacking, ModelError, model=str(small_files)))


def test_whose_parts_are_used_is_told(checkpoint):
    lines: list[str] = []
    with open_pipeline(PipelineOptions(weights=checkpoint), lines.append):
        pass
    assert "The checkpoint's own parts are used: text_encoder, text_encoder_2, vae" in lines


def test_only_what_it_lacks_is_fetched(tensors, checkpoint, tmp_path, monkeypatch):
    real = {UNET + "input_blocks.0.0.weight": torch.zeros(320, 4, 3, 3, dtype=torch.float16)}
    asked: list[tuple[str, bool, set[str]]] = []

    def find(name: str, *, with_unet: bool, notify: object, with_rest: bool, own: dict[str, object]) -> None:
        asked.append((name, with_unet, set(own)))
        raise ModelError(name, "not here")

    monkeypatch.setattr(opening, "find_model", find)
    whole = save(without(tensors, UNET) | real, tmp_path / "whole.safetensors")
    lacking = save(without(tensors, UNET, CLIP) | real, tmp_path / "lacking.safetensors")
    refused(whole, ModelError)
    refused(lacking, ModelError)
    refused(checkpoint, ModelError, model="some/body")
    assert asked == [
        (SDXL_BASE, False, {"text_encoder", "text_encoder_2", "vae"}),
        (SDXL_BASE, False, {"text_encoder_2", "vae"}),
        ("some/body", False, {"text_encoder", "text_encoder_2", "vae"}),
    ]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (f"{UNET}middle_block.1.norm.weight", "mid_block.attentions.0.norm.weight"),
        (f"{CLIP}text_model.final_layer_norm.bias", "final_layer_norm.bias"),
        (f"{OPEN_CLIP}transformer.resblocks.1.attn.in_proj_bias", "layers.1.self_attn.k_proj.bias"),
        (f"{OPEN_CLIP}text_projection", "text_projection.weight"),
        (f"{VAE}decoder.mid.attn_1.proj_out.weight", "mid_block.attentions.0.to_out.0.weight"),
        (f"{VAE}post_quant_conv.bias", "bias"),
    ],
)
def test_what_is_missing_is_named_in_both_layouts(tensors, tmp_path, small_files, key, name):
    path = save(without(tensors, key), tmp_path / "w.safetensors")
    error = refused(path, WeightsMismatchError, model=str(small_files))
    assert any(missing.endswith(name) for missing in error.missing)
    assert f"would be called {key}." in str(error)


@pytest.mark.parametrize(
    "key",
    [
        f"{UNET}input_blocks.0.0.bias",
        f"{OPEN_CLIP}transformer.resblocks.0.attn.in_proj_weight",
        f"{OPEN_CLIP}text_projection",
        f"{VAE}encoder.mid.attn_1.q.weight",
    ],
)
def test_another_shape_is_told(tensors, tmp_path, key):
    path = save(tensors | {key: torch.zeros(3, 6, dtype=torch.float16)}, tmp_path / "w.safetensors")
    assert refused(path, WeightsMismatchError).wrong_shape


def test_a_matrix_that_cannot_hold_three_is_told(tensors, tmp_path):
    key = f"{OPEN_CLIP}transformer.resblocks.0.attn.in_proj_weight"
    path = save(tensors | {key: torch.zeros(128, 128, dtype=torch.float16)}, tmp_path / "w.safetensors")
    assert "of shape 128x128: it can't hold 3 tensors" in str(refused(path, WeightsFileError))


def test_what_the_unet_does_not_know_is_an_error_and_other_parts_are_not(tensors, tmp_path):
    path = save(tensors | {f"{UNET}input_blocks.99.0.op.bias": torch.zeros(2)}, tmp_path / "w.safetensors")
    assert refused(path, WeightsMismatchError).unknown == (f"{UNET}input_blocks.99.0.op.bias",)
    lines: list[str] = []
    with open_pipeline(PipelineOptions(weights=path, strict=False), lambda line: None, lines.append):
        assert len(lines) == 1
    assert "input_blocks.99.0.op.bias" in lines[0]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ([f"{UNET}input_blocks.0.0.weight", "cond_stage_model.transformer.x"], "Stable Diffusion 1 or 2"),
        (["lora_te1_x.lora_down.weight", "lora_te1_x.lora_up.weight"], "a LoRA"),
        (["control_model.input_blocks.0.0.weight"], "a ControlNet"),
        ([f"{UNET}double_blocks.0.img_attn.qkv.weight"], "Flux"),
    ],
)
def test_what_is_no_sdxl_is_told_before_anything_is_fetched(tmp_path, monkeypatch, keys, words):
    monkeypatch.setattr(opening, "find_model", lambda *args, **kwargs: pytest.fail("fetched"))
    save_file({key: torch.zeros(2, 2) for key in keys}, tmp_path / "w.safetensors")
    assert words in str(refused(tmp_path / "w.safetensors", WeightsFileError))


@pytest.mark.parametrize(("mark", "words"), [("v_pred", "v_prediction"), ("edm_mean", "EDM")])
def test_what_a_fine_tune_says_of_its_noise_is_told(tmp_path, mark, words):
    path = save({f"{UNET}out.2.bias": torch.zeros(4), mark: torch.zeros(0)}, tmp_path / "w.safetensors")
    lines: list[str] = []
    assert own_parts([path], "auto", lines.append) == {}
    assert len(lines) == 1
    assert words in lines[0]


def test_of_two_checkpoints_the_first_ones_parts_count(tensors, tmp_path):
    first = save(without(tensors, VAE), tmp_path / "first.safetensors")
    second = save(without(tensors, CLIP), tmp_path / "second.safetensors")
    parts = own_parts([first, second], "auto", lambda line: None)
    assert set(parts) == {"text_encoder", "text_encoder_2", "vae"}
    for part, path in (("text_encoder", first), ("text_encoder_2", first), ("vae", second)):
        source = parts[part].open()
        assert source.name == str(path)
        source.close()
