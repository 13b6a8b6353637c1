"""That transformers still says it so."""

from __future__ import annotations

import copy

import torch
from transformers import CLIPTextConfig, CLIPTextModel

from streamer.runtime.transformers_names import HOOKS_ARE_IN


def test_without_the_mark_a_model_puts_its_hooks_in_anew():
    config = CLIPTextConfig(
        vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=1, eos_token_id=2
    )
    model, tokens = CLIPTextModel(config).eval(), torch.ones(1, 3, dtype=torch.long)
    want = len(model(tokens, output_hidden_states=True).hidden_states)
    bare = copy.deepcopy(model)
    for module in bare.modules():
        module._forward_hooks.clear()
        module.__dict__.pop(HOOKS_ARE_IN, None)
    assert len(bare(tokens, output_hidden_states=True).hidden_states) == want == 3
