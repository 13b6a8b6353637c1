"""An embedding that gets more tokens is in memory, with its weights, before it grows."""

from __future__ import annotations

import copy

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

import streamer
from streamer.models.embeddings import release_before_resizing


def test_a_streamed_text_encoder_grows_as_one_that_does_not_stream(tmp_path):
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=99, hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, eos_token_id=5
    )
    whole = CLIPTextModel(config).eval()
    save_file(whole.state_dict(), tmp_path / "encoder.safetensors")
    streamed = copy.deepcopy(whole)
    tokens = torch.tensor([[1, 98, 100, 5]])
    with streamer.attach(streamed, tmp_path / "encoder.safetensors", vram_budget="60KB", device="cpu") as handle:
        before = handle.plan.total_nbytes
        for each in (whole, streamed):
            each.resize_token_embeddings(101, mean_resizing=False)
            each.get_input_embeddings().weight.data[99:] = 0.5
        assert handle.plan.total_nbytes < before
        with torch.no_grad():
            for _ in range(2):
                assert torch.equal(streamed(tokens).last_hidden_state, whole(tokens).last_hidden_state)
        handle.detach()
    streamed.resize_token_embeddings(102, mean_resizing=False)
    assert streamed.state_dict().keys() == whole.state_dict().keys()


def test_modules_without_tokens_stay_as_they_are():
    module = nn.Linear(2, 2)
    release_before_resizing(module, None)  # type: ignore[arg-type]
    assert "resize_token_embeddings" not in module.__dict__
