"""A model from the hub, in a process of its own: what is fetched, and that its U-Net isn't."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from streamer.models.demo import demo_directory
from tests.picture import nearest_concept
from tests.streamer import adapters
from tests.streamer.models.hub import Hub, serve
from tests.streamer.original import demo_checkpoint, save

REPOSITORY = "somebody/emoji-xl"


@pytest.fixture(scope="module")
def hub():
    with serve(REPOSITORY, demo_directory()) as served:
        yield served


def draw(hub: Hub, folder: Path, *arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home or folder / "hf")}
    environment.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [
            *(sys.executable, "-c", "from streamer.cli.app import main; main()", "gen", "red apple", "--seed", "0"),
            *("--device", "cpu", "-o", "apple.png", "--model", REPOSITORY),
            *arguments,
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_with_weights_of_ones_own_the_models_unet_is_not_fetched(hub, tmp_path, demo_lzr2):
    hub.asked.clear()
    done = draw(hub, tmp_path, "--weights", str(demo_lzr2))
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "apple.png") as picture:
        assert nearest_concept(picture) == "red apple"
    assert "unet/config.json" in hub.asked
    assert "text_encoder_2/model.safetensors" in hub.asked
    assert not [name for name in hub.asked if name.startswith("unet/") and not name.endswith(".json")]
    assert not list((tmp_path / "hf").rglob("*unet*/*.safetensors"))


def test_with_a_checkpoint_that_has_everything_no_weights_are_fetched(hub, tmp_path):
    hub.asked.clear()
    done = draw(hub, tmp_path, "--weights", str(save(demo_checkpoint(), tmp_path / "shared.safetensors")))
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "apple.png") as picture:
        assert nearest_concept(picture) == "red apple"
    assert "no weights" in done.stderr
    assert "tokenizer_2/vocab.json" in hub.asked
    assert not [name for name in hub.asked if name.endswith(".safetensors")]


def test_what_was_fetched_once_is_used_without_a_network(hub, tmp_path, demo_lzr2):
    home = tmp_path / "hf"
    assert draw(hub, tmp_path, "--weights", str(demo_lzr2), "--steps", "1", home=home).returncode == 0
    gone = Hub("http://127.0.0.1:9")
    done = draw(gone, tmp_path, "--weights", str(demo_lzr2), "--steps", "1", home=home)
    assert done.returncode == 0, done.stderr


def test_without_weights_the_models_own_unet_is_fetched_and_streamed(hub, tmp_path):
    hub.asked.clear()
    done = draw(hub, tmp_path, "--steps", "1")
    assert done.returncode == 0, done.stderr
    assert "unet/diffusion_pytorch_model.safetensors" in hub.asked


def test_a_model_that_the_hub_does_not_have_is_told(hub, tmp_path):
    done = draw(hub, tmp_path, "--model", "somebody/else")
    assert done.returncode == 2, done.stderr
    assert "somebody/else" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_network_and_nothing_fetched_is_told(tmp_path):
    done = draw(Hub("http://127.0.0.1:9"), tmp_path)
    assert done.returncode == 2, done.stderr
    assert "never fetched before" in done.stderr


def test_of_a_controlnet_only_what_is_needed_is_fetched(tmp_path):
    repository = adapters.controlnet(tmp_path / "control")
    (repository / "diffusion_pytorch_model.bin").write_bytes(b"never opened")
    (repository / "README.md").write_text("a picture of it")
    seen = adapters.picture(tmp_path / "seen.png")
    with serve("somebody/control", repository) as hub:
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        environment.pop("HF_HUB_OFFLINE", None)
        code = "from streamer.cli.app import main; main()"
        options = ["--steps", "1", "--device", "cpu", "--control", "somebody/control", str(seen)]
        done = subprocess.run(
            [sys.executable, "-c", code, "gen", "sun", *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert set(hub.asked) == {"config.json", "diffusion_pytorch_model.safetensors"}
    assert "With ControlNet control" in done.stderr
