"""What the U-Net learns from: timesteps, weights, noise; and that it does learn."""

from __future__ import annotations

import pytest
import torch

from tools.train_demo.draw import build_scheduler
from tools.train_demo.unet import Noise, timesteps


def test_timesteps_lean_to_high_noise_and_are_spread():
    random = torch.Generator().manual_seed(0)
    few = timesteps(16, random)
    assert sorted(int(t) for t in few) != [int(t) for t in few]
    many = timesteps(10_000, random)
    assert (int(many.min()), int(many.max())) == (pytest.approx(0, abs=5), 999)
    # Uniform u to the power of 0.6: half of them above 1000 * 0.5 ** 0.6.
    assert float(many.double().median()) == pytest.approx(660, abs=2)


def test_noise_is_that_of_the_scheduler():
    assert torch.allclose(Noise.of_sdxl().kept, build_scheduler().alphas_cumprod, rtol=1e-4)


def test_high_noise_counts_in_full_and_low_noise_as_five_times_the_picture():
    noise = Noise.of_sdxl()
    weights = noise.weights(torch.arange(1000))
    assert weights[900:].min() == 1
    kept = noise.kept[10]
    # The v-loss of an error of the picture is (snr + 1) times its square.
    assert float(weights[10] / (1 - kept)) == pytest.approx(5, rel=1e-4)
    assert (weights.diff() >= -1e-6).all()
