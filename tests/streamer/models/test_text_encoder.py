"""Text encoders streamed: the same embeddings bit for bit, under every name their weights have had."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import ModelError, WeightsMismatchError
from streamer.models.demo import demo_directory
from streamer.models.part_weights import PartWeights
from streamer.models.text_encoder import empty_text_encoder, stream_text_encoder

KINDS = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
CPU = torch.device("cpu")


def empty(part: str):
    config = json.loads((demo_directory() / part / "config.json").read_text())
    return empty_text_encoder(KINDS[part].__name__, config, "demo")


def streamed(part, files, settings):
    encoder = empty(part)
    weights = PartWeights.of_files(files)
    return encoder, stream_text_encoder(encoder, weights, settings, CPU, torch.float32, lambda args, kwargs: None)


@pytest.mark.parametrize("part", KINDS)
@pytest.mark.parametrize("budget", ["smallest", UNLIMITED])
@pytest.mark.parametrize("workers", [0, 2])
def test_bit_identical_to_the_one_loaded_whole(part, budget, workers):
    tokens = torch.randint(0, 2000, (2, 77), generator=torch.Generator().manual_seed(0))
    whole = KINDS[part].from_pretrained(demo_directory() / part).float().eval()
    encoder, handle = streamed(part, (demo_directory() / part / "model.safetensors",), StreamSettings(workers=workers))
    if budget == "smallest":
        handle.budget_nbytes = handle.smallest_nbytes
    with handle, torch.no_grad():
        assert handle.device_nbytes == 0
        for _ in range(2):
            got, want = encoder(tokens, output_hidden_states=True), whole(tokens, output_hidden_states=True)
            assert torch.equal(got[0], want[0])
            assert all(torch.equal(a, b) for a, b in zip(got.hidden_states, want.hidden_states, strict=True))
        assert 0 < handle.device_nbytes <= handle.budget_nbytes


@pytest.mark.parametrize("part", KINDS)
def test_files_of_older_libraries_with_and_without_the_prefix(part, tmp_path):
    tensors = load_file(demo_directory() / part / "model.safetensors")
    with_prefix = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in tensors.items()}
    if "text_projection.weight" in tensors:
        with_prefix["text_projection.weight"] = with_prefix.pop("text_model.text_projection.weight")
    with_prefix["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(with_prefix, tmp_path / "w.safetensors")
    encoder, handle = streamed(part, (tmp_path / "w.safetensors",), StreamSettings())
    whole = KINDS[part].from_pretrained(demo_directory() / part).float().eval()
    tokens = torch.arange(77)[None]
    with handle, torch.no_grad():
        assert torch.equal(encoder(tokens)[0], whole(tokens)[0])


def test_what_is_missing_is_named(tmp_path):
    tensors = load_file(demo_directory() / "text_encoder" / "model.safetensors")
    key = sorted(tensors)[0]
    del tensors[key]
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(WeightsMismatchError) as caught:
        streamed("text_encoder", (tmp_path / "w.safetensors",), StreamSettings())
    # Libraries of different ages name the parameter with and without the prefix.
    assert [name.removeprefix("text_model.") for name in caught.value.missing] == [key.removeprefix("text_model.")]


def test_a_part_of_another_kind_or_without_sense_is_named():
    with pytest.raises(ModelError, match="T5EncoderModel"):
        empty_text_encoder("T5EncoderModel", {}, "m")
    with pytest.raises(ModelError, match=r"config\.json"):
        empty_text_encoder("CLIPTextModel", {"hidden_size": 10, "num_attention_heads": 3}, "m")
