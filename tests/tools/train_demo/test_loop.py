"""Training for a time: what is interrupted ends as if it hadn't been."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tools.train_demo.checkpoints import load_checkpoint, remove_left_overs, save_checkpoint, save_directory
from tools.train_demo.loop import Averaged, Limits, Pace, step_random, train

PACE = Pace(0.05, warm_up=2, average=0.5)


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def run(model, folder, steps, *, stop=None):
    def loss(step, share):
        if step == stop:
            raise KeyboardInterrupt
        random = step_random(0, step)
        x = torch.randn(8, 3, generator=random)
        return (model(x) - x.sum(1, keepdim=True)).square().mean(), 8

    # A checkpoint after each step, and half an hour to go: only steps end it.
    train("linear", model, loss, limits=Limits(30, steps), pace=PACE, folder=folder, checkpoint_minutes=-1)


def test_it_learns(tmp_path):
    model = linear()
    run(model, tmp_path, 200)
    assert torch.allclose(model.weight, torch.ones(1, 3), atol=0.05)


def test_what_was_interrupted_ends_as_if_it_had_not_been(tmp_path):
    whole, parted = linear(), linear()
    run(whole, tmp_path / "whole", 20)
    with pytest.raises(KeyboardInterrupt):
        run(parted, tmp_path / "parted", 20, stop=9)
    again = linear()
    run(again, tmp_path / "parted", 20)
    # The rate follows steps here, so nothing depends on how fast it ran.
    assert torch.equal(again.weight, whole.weight)


def test_a_stage_that_is_done_is_not_trained_again(tmp_path):
    run(linear(), tmp_path, 5)
    model = linear()
    run(model, tmp_path, 5, stop=5)
    assert load_checkpoint(tmp_path / "linear.checkpoint")["step"] == 5
    assert not torch.equal(model.weight, linear().weight)


def test_a_loss_that_is_no_number_is_told(tmp_path):
    model = linear()
    limits = Limits(1, 5)
    with pytest.raises(FloatingPointError, match="the loss of step 1 is nan"):
        train("x", model, lambda *_: (model.weight.sum() * math.nan, 1), limits=limits, pace=PACE, folder=tmp_path)


def test_it_ends_by_time_or_by_steps():
    assert Limits(1).share(30, 10_000) == 0.5
    assert Limits(1, 100).share(6, 50) == 0.5
    assert Limits(1, 100).share(600, 50) == 1
    assert Limits(0).share(0, 0) == 1


def test_the_rate_warms_up_and_falls():
    pace = Pace(1.0, floor=0.1, warm_up=10)
    assert pace.rate_at(0, 0) == pytest.approx(0.1)
    assert pace.rate_at(9, 0) == 1
    assert pace.rate_at(100, 0.5) == pytest.approx(0.55)
    assert pace.rate_at(100, 1) == pytest.approx(0.1)


def test_the_average_follows_the_weights():
    model = linear()
    averaged = Averaged(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(1)
    for step in range(300):
        averaged.update(step)
    assert torch.allclose(averaged.tensors["weight"], model.weight, atol=1e-4)


def test_files_and_directories_are_there_whole_or_not_at_all(tmp_path):
    save_checkpoint({"x": torch.ones(2), "n": 3}, tmp_path / "a")
    assert torch.equal(load_checkpoint(tmp_path / "a")["x"], torch.ones(2))

    def broken(folder):
        (folder / "half").write_text("")
        raise OSError("full")

    save_directory(lambda folder: (folder / "whole").write_text("1"), tmp_path / "d")
    with pytest.raises(OSError, match="full"):
        save_directory(broken, tmp_path / "d")
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["whole"]
    (tmp_path / "d").rename(tmp_path / "d.old")  # interrupted between two renames
    remove_left_overs(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d"]
