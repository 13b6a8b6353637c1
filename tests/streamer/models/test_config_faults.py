"""Whatever version of the libraries is installed, a senseless configuration is one of these."""

from __future__ import annotations

import pytest
from transformers import CLIPTextConfig, CLIPTextModel

from streamer.models.config_faults import CONFIG_FAULTS


@pytest.mark.parametrize(
    "wrong", [{"hidden_size": -1}, {"num_attention_heads": 0}, {"hidden_act": "nothing"}, {"hidden_size": "a"}]
)
def test_senseless_configurations(wrong):
    with pytest.raises(CONFIG_FAULTS):
        CLIPTextModel(CLIPTextConfig(**wrong))
