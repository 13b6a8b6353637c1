"""`streamer gen` from pictures, with adapters, and of many prompts: as a user runs it."""

from __future__ import annotations

import io
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image
from safetensors.torch import load_file, save_file

from streamer.cli.app import main
from tests.streamer import adapters

FAST = ["--steps", "2", "--device", "cpu", "-q"]
SEED = ["--seed", "1"]


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for number in (0, 1):
        adapters.picture(folder / f"{number}.png", number)
    adapters.picture(folder / "wide.png", 2, (128, 64))
    adapters.mask(folder / "mask.png")
    adapters.mask(folder / "large.png", (128, 128))
    adapters.mask(folder / "tall.png", (64, 160))
    adapters.controlnet(folder / "control")
    adapters.lora(folder, "a.safetensors", 0)
    adapters.kohya_lora(folder / "b.safetensors")
    adapters.ip_adapter(folder / "ip")
    adapters.refiner(folder / "refiner")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(cache, files, tmp_path, monkeypatch, capfd):
    """Runs ``streamer gen`` here in an empty directory; ``{files}`` in an argument is the folder of files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("streamer.models.demo.weights.user_cache_path", lambda name: cache / name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def call(*arguments: str, typed: str = "") -> Done:
        capfd.readouterr()
        given = [argument.replace("{files}", str(files)) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["streamer", "gen", *FAST, *given])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code, *capfd.readouterr())

    return call


EVERYTHING = {
    "image": ["--image", "{files}/0.png", "--strength", "0.9"],
    "mask": ["--image", "{files}/0.png", "--mask", "{files}/mask.png"],
    "control": ["--control", "{files}/control", "{files}/0.png", "--control-scale", "0.7"],
    "two controls": [
        *("--control", "{files}/control", "{files}/0.png", "--control", "{files}/control", "{files}/1.png"),
        *("--control-scale", "0.7", "--control-scale", "0.2"),
    ],
    "lora": ["--lora", "{files}/a.safetensors:0.8"],
    "two loras": ["--lora", "{files}/a.safetensors:0.8", "--lora", "{files}/b.safetensors"],
    "ip": ["--ip-adapter", "{files}/ip/ip.safetensors", "{files}/1.png", "--ip-scale", "0.5"],
    "refiner": ["--refiner", "{files}/refiner", "--refine-from", "0.5"],
}
MADE = {
    "image": {"strength": 0.9},
    "mask": {"strength": 0.99},
    "control": {"control_models": ["control"]},
    "two controls": {"control_models": ["control", "control"]},
    "lora": {},
    "two loras": {},
    "ip": {},
    "refiner": {"refiner": "refiner", "refine_from": 0.5},
}


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_option_draws_and_is_in_the_picture_and_in_the_summary(run, files, tmp_path, name):
    done = run("sun", *SEED, *EVERYTHING[name], "--json", "-o", "a.png")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert run("sun", *SEED, "-o", "plain.png").returncode == 0
    with Image.open(tmp_path / "a.png") as picture, Image.open(tmp_path / "plain.png") as plain:
        made = json.loads(picture.text["streamer"])
        assert picture.tobytes() != plain.tobytes()
        assert str(files) not in picture.text["streamer"]
    summary = json.loads(done.stdout)
    assert MADE[name].items() <= made.items()
    told = summary | summary["pictures"][0]
    assert all(told[key] == value for key, value in MADE[name].items())
    if name in ("image", "mask"):
        assert made["image"]["file"] == "0.png"
        assert ("mask" in made) == (name == "mask")
    if name.endswith(("control", "controls")):
        assert [hint["scale"] for hint in made["controls"]] == [0.7, 0.2][: len(made["controls"])]
    if name.endswith(("lora", "loras")):
        want = [("a.safetensors", 0.8), ("b.safetensors", 1.0)][: 1 + (name == "two loras")]
        assert [(lora["file"], lora["scale"]) for lora in made["loras"]] == want
        assert made["loras"] == told["loras"]
    if name == "ip":
        assert made["image_prompt"]["scale"] == 0.5
        assert made["ip_adapter"]["encoder"] == told["ip_adapter"]["encoder"] == "image_encoder"


def test_a_picture_drawn_anew_has_its_proportions(run, tmp_path):
    done = run("sun", *SEED, "--image", "{files}/wide.png", "-o", "a.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (88, 48)


def test_what_is_resized_is_told(run):
    done = run("sun", *SEED, "--image", "{files}/0.png", "--mask", "{files}/large.png")
    assert done.returncode == 0, done.stderr
    assert "large.png (128 x 128 pixels) is resized: 0.png has 64 x 64" in done.stderr
    done = run("sun", *SEED, "--control", "{files}/control", "{files}/wide.png")
    assert "wide.png (128 x 64 pixels) is stretched to the picture's 64 x 64" in done.stderr


def other_control(tmp: Path, files: Path, **changes: object) -> str:
    """A ControlNet of another kind of model."""
    config = ControlNetModel.load_config(files / "control") | changes
    ControlNetModel.from_config(config).save_pretrained(tmp / "other")
    return str(tmp / "other")


def changed(tmp: Path, path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> str:
    """A file with other tensors."""
    save_file(change(load_file(path)), tmp / f"changed-{path.name}")
    return str(tmp / f"changed-{path.name}")


def zipped(tmp: Path, name: str) -> str:
    with zipfile.ZipFile(tmp / name, "w") as file:
        file.writestr("data.pkl", b"\x80\x02")
    return str(tmp / name)


def pickled(tmp: Path, name: str) -> str:
    torch.save({"a": torch.zeros(1)}, tmp / name)
    return str(tmp / name)


def wide(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each matrix that reads the prompt reads twice as long words."""
    return {
        key: torch.cat([value, value], 1) if "attn2.to_k.lora_A" in key or "to_k_ip" in key else value
        for key, value in tensors.items()
    }


def without_config(tmp: Path, files: Path) -> str:
    """A ControlNet for words of another length, in a file alone."""
    folder = Path(other_control(tmp, files, cross_attention_dim=96))
    (tmp / "alone").mkdir()
    return str(shutil.copy(folder / "diffusion_pytorch_model.safetensors", tmp / "alone" / "sd15.safetensors"))


def cut_short(tmp: Path, path: Path) -> str:
    (tmp / path.name).write_bytes(path.read_bytes()[:-100])
    return str(tmp / path.name)


IMAGE = "{files}/0.png"
ERRORS: dict[str, tuple[Callable[[Path, Path], list[str]], str]] = {
    "no image": (lambda tmp, files: ["--image", "gone.png"], "gone.png: there is no such file"),
    "no picture": (lambda tmp, files: ["--image", "{files}/a.safetensors"], "a.safetensors: it is no picture"),
    "cut short": (lambda tmp, files: ["--image", cut_short(tmp, files / "0.png")], "0.png: the picture is damaged"),
    "no mask": (lambda tmp, files: ["--image", IMAGE, "--mask", "gone.png"], "gone.png: there is no such file"),
    "mask alone": (lambda tmp, files: ["--mask", "{files}/mask.png"], "Give --image too"),
    "mask of another shape": (lambda tmp, files: ["--image", IMAGE, "--mask", "{files}/tall.png"], "64 x 160"),
    "strength alone": (lambda tmp, files: ["--strength", "0.5"], "Give --image too"),
    "strength": (lambda tmp, files: ["--image", IMAGE, "--strength", "2"], "strength of 2"),
    "no step": (lambda tmp, files: ["--image", IMAGE, "--strength", "0.1"], "no step would be made"),
    "control without image": (lambda tmp, files: ["--control", "{files}/control"], "--control MODEL IMAGE"),
    "no control": (lambda tmp, files: ["--control", "gone", IMAGE], "gone: there is no such file or directory"),
    "no control file": (lambda tmp, files: ["--control", "a/b.safetensors", IMAGE], "b.safetensors: there is no such"),
    "control's image": (lambda tmp, files: ["--control", "{files}/control", "gone.png"], "gone.png: there is no such"),
    "control of another model": (
        lambda tmp, files: ["--control", other_control(tmp, files, cross_attention_dim=96), IMAGE],
        "cross_attention_dim (numbers for each word of the prompt) is 96, the U-Net's 192",
    ),
    "control of another model, alone": (
        lambda tmp, files: ["--control", without_config(tmp, files), IMAGE],
        "sd15.safetensors: it was made for another model: its cross_attention_dim",
    ),
    "control is no control": (lambda tmp, files: ["--control", "{files}/a.safetensors", IMAGE], "it is no ControlNet"),
    "control is a pickle": (lambda tmp, files: ["--control", pickled(tmp, "c.bin"), IMAGE], "a Python pickle"),
    "control is a zip": (lambda tmp, files: ["--control", zipped(tmp, "c.safetensors"), IMAGE], "a zip archive"),
    "control lacks a tensor": (
        lambda tmp, files: [
            "--control",
            changed(
                tmp,
                files / "control" / "diffusion_pytorch_model.safetensors",
                lambda tensors: {key: value for key, value in tensors.items() if key != "conv_in.bias"},
            ),
            IMAGE,
        ],
        "conv_in.bias",
    ),
    "control scales": (
        lambda tmp, files: ["--control", "{files}/control", IMAGE, "--control-scale", "1", "--control-scale", "2"],
        "1 times --control and 2 times --control-scale",
    ),
    "no lora": (lambda tmp, files: ["--lora", "gone.safetensors:0.5"], "gone.safetensors"),
    "lora's scale": (lambda tmp, files: ["--lora", "{files}/a.safetensors:x"], "'x' is no number"),
    "lora's scale nan": (lambda tmp, files: ["--lora", "{files}/a.safetensors:nan"], "scale of nan"),
    "lora is a pickle": (lambda tmp, files: ["--lora", pickled(tmp, "l.pt")], "a Python pickle"),
    "lora is a zip": (
        lambda tmp, files: ["--lora", zipped(tmp, "l.safetensors")],
        "l.safetensors: not a safetensors file",
    ),
    "lora is a control": (
        lambda tmp, files: ["--lora", "{files}/control/diffusion_pytorch_model.safetensors"],
        "In the file, but not in the model",
    ),
    "lora of another model": (
        lambda tmp, files: ["--lora", changed(tmp, files / "a.safetensors", wide)],
        "attn2.to_k.lora_A.weight: found 4x384, expected 4x192",
    ),
    "lora with other layers": (
        lambda tmp, files: [
            "--lora",
            changed(
                tmp,
                files / "a.safetensors",
                lambda tensors: {
                    key.replace("mid_block.", "mid_block.surprise."): value for key, value in tensors.items()
                },
            ),
        ],
        "mid_block.surprise",
    ),
    "ip without image": (lambda tmp, files: ["--ip-adapter", "{files}/ip/ip.safetensors"], "--ip-adapter FILE IMAGE"),
    "ip is a lora": (lambda tmp, files: ["--ip-adapter", "{files}/a.safetensors", IMAGE], "image_proj.*"),
    "ip is a pickle": (lambda tmp, files: ["--ip-adapter", pickled(tmp, "ip.bin"), IMAGE], "a Python pickle"),
    "ip of another model": (
        lambda tmp, files: ["--ip-adapter", changed(tmp, files / "ip" / "ip.safetensors", wide), IMAGE],
        "ip_adapter.1.to_k_ip.weight",
    ),
    "ip without encoder": (
        lambda tmp, files: [
            "--ip-adapter",
            str(shutil.copy(files / "ip" / "ip.safetensors", tmp)),
            IMAGE,
        ],
        "no image encoder lies beside it",
    ),
    "ip with another encoder": (
        lambda tmp, files: [
            *("--ip-adapter", "{files}/ip/ip.safetensors", IMAGE),
            *("--ip-encoder", str(adapters.image_encoder(tmp / "encoder", 48))),
        ],
        "it reads 24 numbers, this one gives 48",
    ),
    "no refiner": (lambda tmp, files: ["--refiner", "gone", "--refine-from", "0.5"], "gone: there is no such"),
    "refine from alone": (lambda tmp, files: ["--refine-from", "0.8"], "Give --refiner too"),
    "refiner from": (lambda tmp, files: ["--refiner", "{files}/refiner", "--refine-from", "1"], "can't take over at 1"),
    "refiner of another model": (
        lambda tmp, files: ["--refiner", str(no_refiner(tmp, files)), "--refine-from", "0.5"],
        "its U-Net takes 192 numbers for each word, the text encoders give 128",
    ),
    "prompts twice": (lambda tmp, files: ["--prompts-file", "-"], "and from elsewhere too"),
    "grid": (lambda tmp, files: ["--grid", "x.jpg"], "PNG"),
    "budget": (
        lambda tmp, files: ["--control", "{files}/control", IMAGE, "--vram-budget", "10.26MB"],
        "The smallest that works is",
    ),
}


def no_refiner(tmp: Path, files: Path) -> Path:
    """The demo's U-Net in a directory that says that it has one text encoder."""
    shutil.copytree(files / "refiner", tmp / "no-refiner")
    config = json.loads((tmp / "no-refiner" / "unet" / "config.json").read_text())
    (tmp / "no-refiner" / "unet" / "config.json").write_text(json.dumps(config | {"cross_attention_dim": 192}))
    return tmp / "no-refiner"


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_work_is_named_with_exit_code_2(run, files, tmp_path, name):
    arguments, words = ERRORS[name]
    done = run("x", *SEED, *arguments(tmp_path, files), "-o", "out/")
    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_peft_it_is_said_how_to_install_it(run, monkeypatch):
    from streamer.models import lora

    find = lora.importlib.util.find_spec
    monkeypatch.setattr(lora.importlib.util, "find_spec", lambda name, *_: None if name == "peft" else find(name))
    done = run("x", "--lora", "{files}/a.safetensors")
    assert done.returncode == 2
    assert "pip install peft" in done.stderr


def manifest(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def names(done: Done) -> list[str]:
    return [Path(line).name for line in done.stdout.splitlines()]


def test_a_file_of_prompts_is_drawn_and_gone_on_with(run, tmp_path):
    prompts = tmp_path / "p.txt"
    prompts.write_text("sun\n# comment\n\nred heart\nsun\n")
    first = run("--prompts-file", "p.txt", "-o", "out", *SEED)
    assert first.returncode == 0, first.stderr
    assert names(first) == ["sun-1.png", "red-heart-1.png", "sun-1-2.png"]
    assert [(entry["prompt"], entry["seed"], entry["path"]) for entry in manifest(tmp_path / "out")] == [
        ("sun", 1, "sun-1.png"),
        ("red heart", 1, "red-heart-1.png"),
        ("sun", 1, "sun-1-2.png"),
    ]
    (tmp_path / "out" / "red-heart-1.png").unlink()
    prompts.write_text(prompts.read_text() + "star\n")
    again = run("--prompts-file", "p.txt", "-o", "out", *SEED, "--json", "--grid", "auto")
    summary = json.loads(again.stdout)
    assert [Path(path).name for path in summary["skipped"]] == ["sun-1.png", "sun-1-2.png"]
    assert [Path(picture["path"]).name for picture in summary["pictures"]] == ["red-heart-1.png", "star-1.png"]
    assert Path(summary["manifest"]) == Path("out/manifest.jsonl")
    with Image.open(summary["grid"]) as grid:
        assert json.loads(grid.text["streamer"])["pictures"] == [
            *("sun-1.png", "red-heart-1.png", "sun-1-2.png", "star-1.png")
        ]
    nothing = run("--prompts-file", "p.txt", "-o", "out", *SEED, "--json")
    assert json.loads(nothing.stdout)["pictures"] == []
    assert len(manifest(tmp_path / "out")) == 5


def test_changed_settings_are_drawn_anew_and_without_a_seed_any_does(run, tmp_path):
    (tmp_path / "p.txt").write_text("sun\n")
    first, again = (run("--prompts-file", "p.txt", "-o", "out/") for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert names(first) == names(again)
    assert len(list((tmp_path / "out").glob("*.png"))) == 1
    for more in (
        ["--guidance", "2"],
        ["--image", "{files}/0.png", "--strength", "0.9"],
        ["--lora", "{files}/a.safetensors"],
    ):
        for fresh in (True, False):
            before = len(manifest(tmp_path / "out"))
            assert run("--prompts-file", "p.txt", "-o", "out/", *more).returncode == 0
            assert len(manifest(tmp_path / "out")) == before + fresh


def test_prompts_from_the_standard_input(run, tmp_path):
    done = run("--prompts-file", "-", *SEED, typed="sun\nstar\n")
    assert done.returncode == 0, done.stderr
    assert names(done) == ["sun-1.png", "star-1.png"]


def test_a_file_of_prompts_needs_a_folder(run):
    done = run("--prompts-file", "-", "-o", "x.png", typed="sun\n")
    assert done.returncode == 2
    assert "Name a folder" in done.stderr


def test_a_grid_of_all_pictures(run, tmp_path):
    done = run("sun", "star", *SEED, "--count", "2", "--grid", "sheet.png", "-o", "p.png")
    assert done.returncode == 0, done.stderr
    assert names(done) == ["p-1.png", "p-2.png", "p-3.png", "p-4.png", "sheet.png"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (4 + 2 * 68, 4 + 2 * 68)
