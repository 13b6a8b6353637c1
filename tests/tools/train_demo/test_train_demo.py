"""The command from drawings to a measured pipeline, with parts too small to draw anything; and what can't be done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from streamer.models.demo import demo_directory
from streamer.models.open import PipelineOptions, open_pipeline
from streamer.models.pipeline import Request
from tests.tools.train_demo.shapes_drawn import NAMES, write_drawings

TOOL = Path(__file__).parents[3] / "tools" / "train_demo.py"


def train(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), str(output), "--threads", "2", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def drawings(tmp_path_factory) -> Path:
    return write_drawings(tmp_path_factory.mktemp("drawings") / "svg")


@pytest.fixture(scope="module")
def made(tmp_path_factory, drawings) -> Path:
    output = tmp_path_factory.mktemp("demo") / "out"
    done = train(output, "--smoke", "--drawings", str(drawings))
    assert done.returncode == 0, done.stderr
    for words in ("== vae", "text: step 3", "unet: step 3", "samples/s", "min left", "evaluate: own: nearest is"):
        assert words in done.stderr
    return output


def test_what_comes_out_is_a_pipeline_that_the_project_draws_with(made):
    own = {path.relative_to(made / "pipeline") for path in (made / "pipeline").rglob("*") if path.is_file()}
    assert own == {path.relative_to(demo_directory()) for path in demo_directory().rglob("*") if path.is_file()}
    with open_pipeline(PipelineOptions(model=str(made / "pipeline"), device="cpu"), lambda line: None) as pipeline:
        assert (pipeline.defaults.steps, pipeline.defaults.guidance) == (2, 2.5)
        picture = pipeline.generate(Request("tent", None, 0, 1, 2.5, 64, 64))
    assert picture.size == (64, 64)


def test_no_path_of_the_machine_it_was_made_on_is_left(made):
    for path in (made / "pipeline").rglob("*.json"):
        text = path.read_text("utf-8")
        assert "_name_or_path" not in text
        assert str(made) not in text


def test_weights_are_half_precision(made):
    for path in (made / "pipeline").rglob("*.safetensors"):
        assert {str(tensor.dtype) for tensor in load_file(path).values()} <= {"float16", "int64"}


def test_numbers_card_and_lists_are_written(made):
    measured = json.loads((made / "measured.json").read_text())
    assert {kind: score["asked"] for kind, score in measured["scores"].items()} == dict.fromkeys(
        ("own", "background", "recoloured", "both"), 2
    )
    assert all(0 < score["rms"] < 1 for score in measured["scores"].values())
    card = (made / "MODEL_CARD.md").read_text()
    for words in ("MIT", "@iconify-json/fluent-emoji-flat", "Measured", "seed 0", "unet "):
        assert words in card
    assert (made / "concepts.txt").read_text().splitlines() == sorted(NAMES)
    assert (made / "grid.png").is_file()


def test_stages_go_on_alone(made):
    refused = train(made, "--stages", "unet", "--smoke")
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    done = train(made, "--stages", "unet,decoder", "--smoke", "--resume", "--steps", "5")
    assert done.returncode == 0, done.stderr
    assert "unet: goes on at step 3" in done.stderr
    assert "unet: step 5" in done.stderr
    # The decoder learned from another U-Net: it begins again.
    assert "decoder: 4 of 4 drawn" in done.stderr
    assert "decoder: goes on" not in done.stderr
    assert "decoder: step 5" in done.stderr
    assert "== vae" not in done.stderr


def test_a_trained_pipeline_can_be_begun_with(tmp_path, drawings):
    arguments = ["--smoke", "--steps", "1", "--drawings", str(drawings), "--start-from", str(demo_directory())]
    done = train(tmp_path / "out", "--stages", "pictures,unet,pipeline", *arguments)
    assert done.returncode == 0, done.stderr
    made, given = tmp_path / "out" / "pipeline", demo_directory()
    for part in ("vae", "unet"):
        name = Path(part) / "diffusion_pytorch_model.safetensors"
        new, old = load_file(made / name), load_file(given / name)
        assert new.keys() == old.keys()
        same = [key for key in new if (new[key] == old[key]).all()]
        assert len(same) == len(new) if part == "vae" else len(same) < len(new)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stages", "unet"], "run the stage 'pictures' before"),
        (["--stages", "unett"], "there is no stage unett"),
    ],
)
def test_what_cannot_be_done_is_told(tmp_path, arguments, words):
    done = train(tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
