"""`streamer gen` as a user runs it: in an empty directory, some of it in its own process."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import lzr2
from streamer.cli.app import main
from streamer.models.demo import demo_directory
from streamer.tiers.read_ahead import ReadAhead

FAST = ["--steps", "2", "--seed", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(cache, tmp_path, monkeypatch, capfd):
    """Runs the command here in an empty directory; gives exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr("streamer.models.demo.weights.user_cache_path", lambda name: cache / name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def call(*arguments: str, typed: str = "") -> Done:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["streamer", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code, *capfd.readouterr())

    return call


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from streamer.cli.app import main; main()", *arguments]


def environment(cache: Path) -> dict[str, str]:
    return os.environ | {"XDG_CACHE_HOME": str(cache), "LOCALAPPDATA": str(cache), "HF_HUB_OFFLINE": "1"}


def test_a_prompt_gives_a_picture_with_what_it_was_made_from(run, tmp_path):
    done = run("gen", "red apple", "--steps", "2", "--seed", "7", "-o", "apple.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "apple.png\n"
    with Image.open(tmp_path / "apple.png") as picture:
        assert picture.size == (64, 64)
        assert picture.text["prompt"] == "red apple"
        settings = json.loads(picture.text["streamer"])
    assert settings["seed"] == 7
    assert settings["steps"] == 2
    assert settings["guidance"] == 2.5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["apple.png"]


def test_the_file_is_the_same_byte_for_byte_whatever_the_budget(run, tmp_path):
    for name, more in {
        "1": ["--vram-budget", "10.26MB", "--no-prefetch", "--ram-budget", "0"],
        "2": ["--vram-budget", "11MB", "--threads", "2", "--io", "mmap"],
        "3": ["--vram-budget", "unlimited", "--io", "pread", "--ram-budget", "1GB"],
    }.items():
        assert run("gen", "star", *FAST, *more, "-q", "-o", f"{name}.png").returncode == 0
    assert len({(tmp_path / f"{name}.png").read_bytes() for name in "123"}) == 1


def test_weights_are_being_read_while_libraries_are_loaded_and_not_while_pictures_are_drawn(
    run, tmp_path, demo_lzr2, monkeypatch
):
    events = []
    monkeypatch.setattr("streamer.models.head_start.processors", lambda: 2)
    monkeypatch.setattr(ReadAhead, "__enter__", lambda ahead: events.append(ahead._paths))
    monkeypatch.setattr(ReadAhead, "close", lambda ahead: events.append("end"))
    monkeypatch.setattr("streamer.cli.gen.load_libraries", lambda bars: events.append("libraries"))
    monkeypatch.setattr("streamer.cli.gen.draw_all", lambda *_: events.append("drawing"))
    assert run("gen", "star", *FAST, "-q", "--weights", str(demo_lzr2)).returncode == 0
    assert events == [(demo_lzr2,), "libraries", "end", "drawing"]


def test_several_pictures_and_one_line_of_json(run, tmp_path):
    done = run("gen", "sun", "red heart", *FAST, "--count", "2", "--json", "-q")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    summary = json.loads(done.stdout)
    names = ["sun-1.png", "sun-2.png", "red-heart-1.png", "red-heart-2.png"]
    assert [picture["path"] for picture in summary["pictures"]] == names
    assert [picture["seed"] for picture in summary["pictures"]] == [1, 2, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert summary["forwards"] == 8
    assert 0 < summary["device_weights_nbytes"] <= summary["budget_nbytes"] == 16_000_000
    assert summary["streamed_nbytes"] > summary["unet_nbytes"]
    assert 0 <= summary["stall_share"] <= 1
    assert done.stderr == ""


def test_a_chosen_name_is_never_one_that_exists(run, tmp_path):
    for _ in range(2):
        assert run("gen", "sun", *FAST, "-q").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sun-1-2.png", "sun-1.png"]


def test_interactive_draws_until_it_is_told_to_stop(run, tmp_path):
    done = run("gen", "-i", *FAST, "-o", "p.png", typed="sun\n\n  \nstar\nquit\nmoon\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["p-1.png", "p-2.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p-1.png", "p-2.png"]


def test_interactive_ends_with_the_input_and_outlives_a_failing_prompt(run, tmp_path):
    (tmp_path / "p-1.png").mkdir()
    done = run("gen", "-i", *FAST, "-o", "p.png", "-q", typed="sun\nstar\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["p-2.png"]
    assert "Error: " in done.stderr


def test_progress_says_what_streams(run):
    done = run("gen", "sun", *FAST)
    for words in ("demo on cpu", "blocks stay on the device", "MB/s streamed", "stalled", "memory"):
        assert words in done.stderr


def test_what_the_demo_draws_is_listed_as_prompts_and_nothing_is_drawn(run, tmp_path):
    done = run("gen", "--demo-prompts", "-q")
    assert done.returncode == 0, done.stderr
    assert {"red apple", "rocket", "ghost"} < set(done.stdout.splitlines())
    assert len(done.stdout.splitlines()) == 148
    assert list(tmp_path.iterdir()) == []


def test_it_says_that_it_is_the_demo_and_what_it_does_not_know(run):
    done = run("gen", "red aple", *FAST, "--json")
    assert done.returncode == 0, done.stderr
    assert "This is the embedded demo" in done.stderr
    assert "--weights FILE" in done.stderr
    (told,) = json.loads(done.stdout)["warnings"]
    assert 'know "aple". Did you mean "apple"' in told
    assert told in done.stderr


def bad_file(tmp_path: Path, content: bytes) -> str:
    (tmp_path / "w.lzr2").write_bytes(content)
    return "w.lzr2"


def truncated(tmp_path: Path) -> str:
    whole = tmp_path / "whole.lzr2"
    lzr2.save_file({"conv_in.weight": np.ones((48, 4, 3, 3), np.float16)}, whole)
    return bad_file(tmp_path, whole.read_bytes()[:-3])


def misfit(tmp_path: Path) -> str:
    lzr2.save_file({"surprise.weight": np.ones((4, 4), np.float16)}, tmp_path / "w.lzr2")
    return "w.lzr2"


def model(tmp_path: Path, index: bytes | None, part: str = "", content: bytes | None = None) -> str:
    """The demo's directory with another index, or a part of it cut short or replaced."""
    shutil.copytree(demo_directory(), tmp_path / "model")
    if index is not None:
        (tmp_path / "model" / "model_index.json").write_bytes(index)
    if part:
        path = tmp_path / "model" / part
        path.write_bytes(path.read_bytes()[:-1000] if content is None else content)
    return "model"


ERRORS = {
    "no prompt": (lambda tmp: [], "nothing to draw"),
    "no file": (lambda tmp: ["x", "--weights", "gone.lzr2"], "gone.lzr2: there is no such file"),
    "html": (lambda tmp: ["x", "--weights", bad_file(tmp, b"<html><body>Sign in")], "HTML"),
    "lfs": (lambda tmp: ["x", "--weights", bad_file(tmp, b"version https://git-lfs.github.com/spec/v1")], "Git LFS"),
    "zip": (lambda tmp: ["x", "--weights", bad_file(tmp, b"PK\x03\x04......")], "zip"),
    "cut short": (lambda tmp: ["x", "--weights", truncated(tmp)], "conv_in.weight"),
    "misfit": (lambda tmp: ["x", "--weights", misfit(tmp), "--model", "demo"], "surprise.weight"),
    "budget": (lambda tmp: ["x", "--vram-budget", "1MB"], "The smallest that works is 10.26MB"),
    "size": (lambda tmp: ["x", "--vram-budget", "4 bananas"], "4 bananas"),
    "device": (lambda tmp: ["x", "--device", "tpu"], "tpu"),
    "model": (lambda tmp: ["x", "--model", "not a model"], "not a model"),
    "hub": (lambda tmp: ["x", "--model", "nobody/nothing"], "never fetched before"),
    "scheduler": (lambda tmp: ["x", "--scheduler", "fast"], "euler"),
    "width": (lambda tmp: ["x", "--width", "65"], "multiple of 8"),
    "output": (lambda tmp: ["x", "-o", "x.jpg"], "PNG"),
    "option": (lambda tmp: ["x", "--vram", "4GB"], "--vram-budget"),
    "steps": (lambda tmp: ["x", "--steps", "many"], "--steps"),
    "no steps": (lambda tmp: ["x", "--steps", "0", "--model", "nobody/nothing"], "between 1 and 1000"),
    "seed": (lambda tmp: ["x", "--seed", str((1 << 63) - 1), "--count", "2"], "out of range"),
    "prompt": (lambda tmp: ["red \udcff apple"], "no UTF-8"),
    "one prompt empty": (lambda tmp: ["x", " "], "One of the prompts is empty"),
    "too wide": (lambda tmp: ["x", "--width", "20000"], "isn't within 8 to 16384"),
    "below a file": (lambda tmp: ["x", "-o", f"{bad_file(tmp, b'')}/x.png"], "is a file"),
    "another pipeline": (lambda tmp: ["x", "--model", model(tmp, b'{"_class_name": "FluxPipeline"}')], "FluxPipeline"),
    "half a download": (
        lambda tmp: ["x", "--model", model(tmp, None, "text_encoder/model.safetensors")],
        "the file is cut short",
    ),
    "no vae's levels": (
        lambda tmp: ["x", "--model", model(tmp, None, "vae/config.json", b"{}")],
        "don't fit this model",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_that_a_user_can_act_on_is_a_message_and_exit_code_2(run, tmp_path, name):
    arguments, words = ERRORS[name]
    done = run("gen", *arguments(tmp_path))
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.png"))


def test_a_gpu_that_is_not_there_is_told(run):
    done = run("gen", "x", "--steps", "1", "--device", "cuda:99")
    assert done.returncode == 2
    assert "CUDA device" in done.stderr


def test_the_first_use_says_that_the_demo_is_encoded(tmp_path):
    done = subprocess.run(
        command("gen", "red apple", *FAST),
        cwd=tmp_path,
        env=environment(tmp_path / "cache"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Encoding the demo" in done.stderr
    assert done.stdout == "red-apple-1.png\n"


def test_ctrl_c_ends_within_two_seconds_and_leaves_nothing(cache, tmp_path):
    process = subprocess.Popen(
        command("gen", "sun", "--steps", "1000", "--device", "cpu", "--vram-budget", "10.5MB", "-o", "sun.png"),
        cwd=tmp_path,
        env=environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "blocks stay" in line:
            break
    time.sleep(1)
    assert process.poll() is None
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - started < 2
    assert process.returncode == 130
    assert out == ""
    assert "Interrupted" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_the_model_directory_can_be_named(run):
    done = run("gen", "sun", *FAST, "-q", "--model", str(demo_directory()))
    assert done.returncode == 0, done.stderr


def test_what_does_not_fit_is_told_even_when_quiet_and_is_in_the_summary(run, tmp_path):
    with lzr2.Writer(tmp_path / "w.lzr2") as writer:
        for key, tensor in load_file(demo_directory() / "unet" / "diffusion_pytorch_model.safetensors").items():
            writer.add(key, tensor)
        writer.add_without_payload("surprise.weight", (3, 3))
    arguments = ("gen", "sun", *FAST, "--weights", "w.lzr2", "-q", "--json")
    assert run(*arguments).returncode == 2
    done = run(*arguments, "--no-strict")
    assert done.returncode == 0, done.stderr
    assert "surprise.weight" in done.stderr
    assert "surprise.weight" in "".join(json.loads(done.stdout)["warnings"])


def test_the_picture_says_what_it_was_made_with(run, tmp_path):
    lzr2.save_file({"conv_out.bias": np.zeros(4, np.float16)}, tmp_path / "part.lzr2")
    base = str(demo_directory() / "unet")
    done = run(
        "gen", "sun", *FAST, "-q", "--weights", "part.lzr2", "--base", base, "--scheduler", "heun", "-o", "a.png"
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a.png") as picture:
        made = json.loads(picture.text["streamer"])
    assert made["weights"] == "part.lzr2 over diffusion_pytorch_model.safetensors"
    assert (made["scheduler"], made["model"], made["device"], made["dtype"]) == ("heun", "demo", "cpu", "float32")


def test_interactive_without_a_standard_input_is_told(run, monkeypatch):
    arguments = command("gen", "-i", *FAST)
    done = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no standard input" in done.stderr


def test_interactive_tells_what_fails_even_when_quiet(run, monkeypatch):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("streamer.models.pipeline.StreamedPipeline.generate", fail)
    done = run("gen", "-i", "-q", *FAST, typed="sun\n")
    assert done.returncode == 0
    assert "ZeroDivisionError: a bug" in done.stderr


def test_no_host_memory_in_any_spelling(run):
    for size in ("0", "0MB", "0 GiB"):
        done = run("gen", "sun", *FAST, "-q", "--json", "--ram-budget", size)
        assert json.loads(done.stdout)["host_cache_nbytes"] == 0


def test_tiles_are_told_and_in_the_summary_and_in_the_picture(run, tmp_path):
    done = run("gen", "sun", "--steps", "1", "--width", "128", "--vae-tile", "64", "--json", "-o", "a.png")
    assert done.returncode == 0, done.stderr
    assert "in tiles of 64 pixels" in done.stderr
    assert json.loads(done.stdout)["vae_tile"] == 64
    with Image.open(tmp_path / "a.png") as picture:
        assert json.loads(picture.text["streamer"])["vae_tile"] == "64"
    off = run("gen", "sun", "--steps", "1", "--width", "128", "--vae-tile", "off", "--json", "-o", "b.png")
    assert json.loads(off.stdout)["vae_tile"] is None


@pytest.mark.parametrize("tile", ["-64", "0", "many", "9999999"])
def test_a_tile_that_is_none_is_told(run, tile):
    done = run("gen", "sun", f"--vae-tile={tile}")
    assert done.returncode == 2
    assert "--vae-tile" in done.stderr


def test_a_spill_folder_changes_nothing_in_the_picture_and_stays(run, tmp_path):
    for name in ("a", "b", "c"):
        spill = [] if name == "c" else ["--spill", "spill"]
        done = run("gen", "sun", *FAST, "--seed", "1", "--ram-budget", "0", "-q", *spill, "-o", f"{name}.png")
        assert done.returncode == 0, done.stderr
    pictures = [(tmp_path / f"{name}.png").read_bytes() for name in ("a", "b", "c")]
    assert len(set(pictures)) == 1
    assert len(list((tmp_path / "spill").glob("streamer-*.safetensors"))) == 1
