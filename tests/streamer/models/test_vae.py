"""The VAE streamed: the same pixels bit for bit, whole and in tiles; the size of tiles."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import AutoencoderKL
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import ModelError
from streamer.models.demo import demo_directory
from streamer.models.part_weights import PartWeights
from streamer.models.vae import (
    LARGEST_TILE,
    SMALLEST_TILE,
    TILE_STEP,
    VaeTypes,
    empty_vae,
    largest_tile,
    load_small_rest,
    pixels_per_latent,
    set_tile,
    state_type,
    stream_vae_half,
    tile_in_use,
    vae_types,
)

FILE = demo_directory() / "vae" / "diffusion_pytorch_model.safetensors"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def whole() -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(demo_directory() / "vae", torch_dtype=torch.float32).eval()


def streamed(file=FILE):
    vae = empty_vae(json.loads((demo_directory() / "vae" / "config.json").read_text()), "demo")
    weights = PartWeights.of_files((file,))
    handles = [
        stream_vae_half(vae, half, weights, StreamSettings(), CPU, torch.float32, lambda args, kwargs: None)
        for half in ("decoder", "encoder")
    ]
    load_small_rest(vae, weights, CPU, VaeTypes(torch.float32, torch.float32, torch.float32))
    return vae, handles


def close(handles) -> None:
    for handle in handles:
        handle.close()


@pytest.mark.parametrize("budget", ["smallest", UNLIMITED])
@pytest.mark.parametrize("tile", [None, 8])
def test_bit_identical_to_the_one_loaded_whole(whole, budget, tile):
    random = torch.Generator().manual_seed(0)
    latents, picture = torch.randn(1, 4, 20, 12, generator=random), torch.rand(1, 3, 80, 48, generator=random)
    vae, handles = streamed()
    set_tile(vae, tile)
    set_tile(whole, tile)
    for handle in handles:
        handle.budget_nbytes = handle.smallest_nbytes if budget == "smallest" else budget
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(vae.decode(latents).sample, whole.decode(latents).sample)
            assert torch.equal(vae.encode(picture).latent_dist.mean, whole.encode(picture).latent_dist.mean)
    assert all(handle.device_nbytes <= handle.budget_nbytes for handle in handles)
    assert [handle.stats.totals.surprises for handle in handles] == [0, 0]  # the order was known beforehand
    close(handles)


def test_attention_under_its_former_names(whole, tmp_path):
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    tensors = load_file(FILE)
    for now, then in names.items():
        tensors = {key.replace(now, then): value for key, value in tensors.items()}
    assert any(".proj_attn." in key for key in tensors)
    save_file(tensors, tmp_path / "old.safetensors")
    vae, handles = streamed(tmp_path / "old.safetensors")
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(vae.decode(latents).sample, whole.decode(latents).sample)
    close(handles)


@given(st.integers(0, 10**9), st.integers(1, 10**4))
def test_the_largest_tile_fits_and_the_next_does_not(room, each):
    def nbytes_of(side: int) -> int:
        return each * side * side

    side = largest_tile(nbytes_of, room)
    assert side % TILE_STEP == 0
    assert SMALLEST_TILE <= side <= LARGEST_TILE
    assert nbytes_of(side) <= room or side == SMALLEST_TILE
    assert side == LARGEST_TILE or nbytes_of(side + TILE_STEP) > room


def test_tiles_are_in_use_only_where_the_picture_is_larger(whole):
    set_tile(whole, 16)
    assert pixels_per_latent(whole) == 4
    assert tile_in_use(whole, 64, 64) is None
    assert tile_in_use(whole, 64, 72) == 64
    set_tile(whole, None)
    assert tile_in_use(whole, 1000, 1000) is None


def test_a_configuration_without_sense_is_named():
    with pytest.raises(ModelError, match=r"vae/config\.json"):
        empty_vae({"block_out_channels": [7], "norm_num_groups": 2}, "m")


@pytest.mark.parametrize(
    ("dtype", "upcast", "want"),
    [
        (torch.float32, True, (torch.float32, torch.float32)),
        (torch.float16, True, (torch.float32, torch.float32)),
        (torch.bfloat16, True, (torch.float32, torch.bfloat16)),
        (torch.float16, False, (torch.float16, torch.float16)),
        (torch.bfloat16, None, (torch.float32, torch.bfloat16)),
    ],
)
def test_what_it_computes_in_follows_from_its_configuration_as_in_stock_pipelines(dtype, upcast, want):
    types = vae_types({} if upcast is None else {"force_upcast": upcast}, dtype)
    assert (types.encoder, types.decoder, types.weights) == (*want, dtype)


def test_it_states_the_pipelines_type_and_stays_of_its_class():
    vae, handles = streamed()
    state_type(vae, torch.float16, CPU)
    assert (vae.dtype, vae.device) == (torch.float16, CPU)
    assert type(vae) is AutoencoderKL
    close(handles)


@pytest.mark.parametrize("mode", [torch.device("meta"), torch.inference_mode()], ids=["device", "inference"])
def test_made_with_another_default_device_or_in_inference_mode_it_runs_outside_too(whole, mode):
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with mode:
        vae, handles = streamed()
    assert torch.equal(vae.decode(latents).sample, whole.decode(latents).sample)
    close(handles)
