"""Latents as SDXL has them: white is nothing, the deviation is 1, and pictures stay what they were."""

from __future__ import annotations

import pytest
import torch

from tests.tools.train_demo.shapes_drawn import NAMES, pixels
from tools.train_demo.captions import all_variants, render
from tools.train_demo.drawings import SIDE
from tools.train_demo.latents import as_input, cached_latents
from tools.train_demo.shapes import SCALING, build_vae
from tools.train_demo.vae import fold, peak_signal_to_noise, picture_loss


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return build_vae(small=True).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def variants():
    return all_variants(NAMES, pixels())[::9]


def test_folding_moves_latents_and_no_picture(vae, variants):
    pictures = as_input([render(variant, pixels()) for variant in variants])
    before = vae.encode(pictures).latent_dist
    decoded = vae.decode(before.mode()).sample
    fold(vae, pictures)
    after = vae.encode(pictures).latent_dist
    assert torch.allclose(vae.decode(after.mode()).sample, decoded, atol=1e-4)
    white = vae.encode(torch.ones(1, 3, SIDE, SIDE)).latent_dist.mode()
    assert white.mean((0, 2, 3)).abs().max() < 1e-3 * after.mode().std()
    assert float((after.mode() * SCALING).square().mean().sqrt()) == pytest.approx(1, abs=1e-3)
    # Means and the noise around them grow by the same factor.
    noise = after.std / before.std
    assert torch.allclose(noise, noise.mean().expand_as(noise), rtol=1e-3)
    moved = before.mode() - before.mode()[:, :, :1, :1]
    assert torch.allclose(after.mode() - after.mode()[:, :, :1, :1], moved * noise.mean(), rtol=1e-2, atol=1e-2)


def test_a_picture_that_is_the_same_costs_nothing():
    picture = torch.rand(2, 3, 8, 8)
    assert picture_loss(picture, picture) == 0
    assert picture_loss(picture, picture + 0.1) == pytest.approx(0.11, abs=1e-5)  # no edge differs


def test_decibels_of_a_vae_that_gives_grey(vae, variants):
    class Grey:
        encode = staticmethod(vae.encode)

        @staticmethod
        def decode(latents):
            return type("Decoded", (), {"sample": torch.zeros(len(latents), 3, SIDE, SIDE)})

    pictures = torch.ones(1, 3, SIDE, SIDE)
    assert peak_signal_to_noise(Grey, pictures) == pytest.approx(6.02, abs=0.01)  # half of white


def test_latents_are_kept_until_something_changes(vae, variants, tmp_path):
    path = tmp_path / "latents.safetensors"
    first = cached_latents(vae, variants, pixels(), "cpu", path)
    written = path.stat().st_mtime_ns
    assert torch.equal(cached_latents(vae, variants, pixels(), "cpu", path), first)
    assert path.stat().st_mtime_ns == written
    with torch.no_grad():
        vae.quant_conv.bias += 1
    other = cached_latents(vae, variants, pixels(), "cpu", path)
    assert not torch.equal(other, first)
    assert torch.allclose(other, first + SCALING, atol=1e-4)
