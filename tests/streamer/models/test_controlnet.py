"""ControlNets are found on this machine as they are shared; what is none is named. Pictures: `test_extras.py`."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from streamer.errors import ModelError, WeightsFileError
from streamer.models.controlnet import _guessed, find_control


def never(line: str) -> None:
    pytest.fail(f"something was fetched: {line}")


def test_a_file_alone_has_no_configuration_and_one_beside_it_counts_only_if_it_is_a_controlnets(tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"")
    assert find_control(str(path), never).config is None
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    assert find_control(str(path), never).config is None
    assert find_control(str(path), never).files == (path,)


def test_what_is_no_controlnet_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="UNet2DConditionModel"):
        find_control(str(tmp_path), never)
    with pytest.raises(ModelError, match="no such file"):
        find_control(str(tmp_path / "none.safetensors"), never)
    (tmp_path / "c.bin").write_bytes(b"")
    with pytest.raises(WeightsFileError, match="pickle"):
        find_control(str(tmp_path / "c.bin"), never)


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("controlnet_cond_embedding.conv_in.weight", ()),
        ("controlnet_cond_embedding.conv_in.weight", (16,)),
        ("controlnet_cond_embedding.blocks.1.weight", ()),
        ("mid_block.attn2.to_k.weight", (8,)),
    ],
)
def test_weights_of_no_such_shape_are_refused_in_words(key, shape):
    shapes = {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), key: shape}
    source = SimpleNamespace(keys=lambda: shapes, info=lambda name: SimpleNamespace(shape=shapes[name]))
    with pytest.raises(ModelError, match="has the shape"):
        _guessed("c", source, {"cross_attention_dim": 8})
