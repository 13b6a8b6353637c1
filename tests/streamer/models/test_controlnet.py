"""ControlNets are found on this machine as they are shared; what is none is named. Pictures: `test_extras.py`."""

from __future__ import annotations

import json

import pytest

from streamer.errors import ModelError, WeightsFileError
from streamer.models.controlnet import find_control


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
