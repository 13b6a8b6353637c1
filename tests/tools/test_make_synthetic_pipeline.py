"""The synthetic pipeline: complete, finite, under the published keys, and drawn with."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import load_file

from streamer.models.demo import demo_directory
from streamer.models.open import PipelineOptions, open_pipeline
from streamer.models.pipeline import Request

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    sys.path.insert(0, str(TOOLS))
    try:
        yield importlib.import_module("make_synthetic_pipeline")
    finally:
        sys.path.remove(str(TOOLS))


def make(tool: ModuleType, path: Path, *arguments: str) -> int:
    small = ["--configs", str(demo_directory()), "--unet-config", str(demo_directory() / "unet" / "config.json")]
    done: int = tool.main([str(path), *small, *arguments])
    return done


@pytest.fixture(scope="module")
def made(tool: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic") / "pipeline"
    assert make(tool, path) == 0
    return path


def test_a_picture_comes_out(made, demo_lzr2):
    options = PipelineOptions(weights=demo_lzr2, model=str(made), device="cpu")
    with open_pipeline(options, lambda line: None) as pipeline:
        picture = pipeline.generate(Request("sun", None, 0, 1, 1.0, 64, 64))
    assert np.asarray(picture).std() > 0


def test_keys_are_those_of_published_files_and_weights_are_sane(made):
    tensors = load_file(made / "text_encoder" / "model.safetensors")
    assert "text_model.embeddings.token_embedding.weight" in tensors
    assert all(np.isfinite(tensor).all() and tensor.dtype == np.float16 for tensor in tensors.values())
    assert all(tensor.std() > 0 for tensor in tensors.values())


def test_the_same_again_for_the_same_seed_and_another_for_another(tool, made, tmp_path):
    file = Path("vae") / "diffusion_pytorch_model.safetensors"
    make(tool, tmp_path / "same")
    make(tool, tmp_path / "other", "--seed", "1")
    assert (tmp_path / "same" / file).read_bytes() == (made / file).read_bytes()
    assert (tmp_path / "other" / file).read_bytes() != (made / file).read_bytes()


def test_what_is_there_is_not_touched(tool, made, capsys):
    before = sorted(made.rglob("*"))
    with pytest.raises(SystemExit, match="2"):
        make(tool, made)
    assert "isn't an empty directory" in capsys.readouterr().err
    assert sorted(made.rglob("*")) == before


def test_the_full_size_is_sdxls(tool):
    published = {"text_encoder": 123_060_480, "text_encoder_2": 694_659_840, "vae": 83_653_863}  # parameters
    index = json.loads((tool.CONFIGS / "model_index.json").read_text("utf-8"))
    for part, count in published.items():
        config = json.loads((tool.CONFIGS / part / "config.json").read_text("utf-8"))
        assert sum(parameter.numel() for parameter in tool.empty_part(part, config, index).parameters()) == count
