"""`streamer encode`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import lzr2


@pytest.fixture
def weights(tmp_path):
    random = np.random.default_rng(0)
    save_file(
        {f"t{i}": random.standard_normal((16, 64)).astype(np.float32) for i in range(5)}, tmp_path / "w.safetensors"
    )


@pytest.mark.parametrize("options", [(), ("--lossless",), ("--jobs", 3)])
def test_losslessly_by_default(streamer, weights, tmp_path, options):
    done = streamer("encode", "w.safetensors", "w.lzr2", *options)
    assert done.code == 0, done.err
    assert "5 tensors, 5,120 weights in" in done.out
    assert done.err == ""
    against = streamer("verify", "w.lzr2", "--against", "w.safetensors")
    assert against.code == 0
    assert "5 tensors are exact, 0 differ" in against.out


def test_under_a_size_the_file_is_no_larger(streamer, weights, tmp_path):
    done = streamer("encode", "w.safetensors", "w.lzr2", "--size", "25KB")
    assert done.code == 0, done.err
    assert 20_000 < (tmp_path / "w.lzr2").stat().st_size <= 25_000


def test_under_a_share_or_an_error_the_rest_is_near(streamer, weights, tmp_path):
    assert streamer("encode", "w.safetensors", "a.lzr2", "--max-error", "0.05").code == 0
    assert streamer("encode", "w.safetensors", "b.lzr2", "--overlay-fraction", "0.1").code == 0
    want = lzr2.load_file("a.lzr2")
    from safetensors.numpy import load_file

    for key, values in load_file(tmp_path / "w.safetensors").items():
        assert np.abs(want[key].astype(np.float64) - values.astype(np.float16)).max() <= 0.05
    assert (tmp_path / "b.lzr2").stat().st_size < (tmp_path / "a.lzr2").stat().st_size


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("w.safetensors", "w.lzr2", "--size", "1KB"), "too small for the lattices alone"),
        (("w.safetensors", "w.lzr2", "--size", "1KB", "--max-error", "1"), "not several"),
        (("w.safetensors", "w.lzr2", "--overlay-fraction", "2"), "0 to 1"),
        (("w.safetensors", "w.safetensors"), "written over"),
        (("w.safetensors", "."), "is a directory"),
        (("none.safetensors", "w.lzr2"), "no such file"),
        (("w.safetensors", "none/w.lzr2"), "No such file"),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_nothing(streamer, weights, tmp_path, arguments, words):
    before = (tmp_path / "w.safetensors").read_bytes()
    done = streamer("encode", *arguments)
    assert done.code == 2
    assert words in done.err
    assert "Traceback" not in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]
    assert (tmp_path / "w.safetensors").read_bytes() == before


def test_whole_numbers_are_no_weights(streamer, tmp_path):
    save_file({"w": np.ones((2, 2), np.int8)}, tmp_path / "w.safetensors")
    done = streamer("encode", "w.safetensors", "w.lzr2")
    assert done.code == 2
    assert "quantised" in done.err


def test_weights_beyond_float16_are_counted(streamer, tmp_path):
    save_file({"w": np.array([[1e6, 1.0]], np.float32)}, tmp_path / "w.safetensors")
    done = streamer("encode", "w.safetensors", "w.lzr2")
    assert done.code == 0
    assert "1 weights are infinite in float16" in done.err


def test_counters_and_scalars_are_left_out_and_named(streamer, tmp_path):
    tensors = {"w": np.ones((4, 8), np.float32), "logit_scale": np.array(2, np.float32), "position_ids": np.arange(77)}
    save_file(tensors, tmp_path / "w.safetensors")
    done = streamer("encode", "w.safetensors", "w.lzr2")
    assert done.code == 0, done.err
    assert "position_ids left out" in done.err
    assert "logit_scale left out" in done.err
    assert set(lzr2.load_file("w.lzr2")) == {"w"}
    assert streamer("verify", "w.lzr2", "--against", "w.safetensors", "--strict").code == 0


def test_quantised_weights_are_an_error(streamer, tmp_path):
    save_file({"w": np.ones((4, 8), np.float32), "q": np.ones((4, 8), np.int8)}, tmp_path / "w.safetensors")
    done = streamer("encode", "w.safetensors", "w.lzr2")
    assert done.code == 2
    assert "int8" in done.err
    assert not (tmp_path / "w.lzr2").exists()


def test_float64_is_rounded_once(streamer, tmp_path):
    # Between float32 and float16 lies a number that is rounded another way on the way through float32.
    value = 1.0 + 2.0**-11 + 2.0**-40
    save_file({"w": np.full((4, 8), value)}, tmp_path / "w.safetensors")
    assert streamer("encode", "w.safetensors", "w.lzr2").code == 0
    assert (lzr2.load_file("w.lzr2")["w"] == np.float64(value).astype(np.float16)).all()
    assert np.float64(value).astype(np.float16) != np.float32(value).astype(np.float16)
    assert streamer("verify", "w.lzr2", "--against", "w.safetensors", "--strict").code == 0


def test_the_target_of_a_link_is_written(streamer, weights, tmp_path):
    (tmp_path / "away").mkdir()
    (tmp_path / "w.lzr2").symlink_to(tmp_path / "away" / "real.lzr2")
    assert streamer("encode", "w.safetensors", "w.lzr2").code == 0
    assert (tmp_path / "w.lzr2").is_symlink()
    assert len(lzr2.load_file(tmp_path / "away" / "real.lzr2")) == 5


@pytest.mark.parametrize("command", ["encode", "export"])
def test_a_pipe_or_a_device_is_not_replaced(streamer, weights, tmp_path, command):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    for output in ("pipe", "device"):
        done = streamer(command, "w.safetensors", output)
        assert done.code == 2
        assert "a pipe or a device" in done.err
    assert Path("/dev/null").is_char_device()
    assert (tmp_path / "pipe").is_fifo()
