"""An image encoder without its files is named. Pictures: `test_extras.py`; memory: `test_extras_budget.py`."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from streamer.errors import ModelError
from streamer.models.image_encoder import stream_image_encoder

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "config.json"),
        ({"hidden_size": "many"}, "can be built"),
        (
            {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 1, "image_size": 32, "patch_size": 8},
            "no weights",
        ),
    ],
)
def test_what_is_missing_is_told(tmp_path, config, words):
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=words):
        stream_image_encoder(tmp_path, SimpleNamespace(), CPU, torch.float32)
