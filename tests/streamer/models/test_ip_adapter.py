"""What an IP-Adapter reads is told from its file. Pictures: `test_extras.py`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from streamer.errors import ModelError, WeightsFileError
from streamer.models.adapter_file import AdapterFile
from streamer.models.ip_adapter import IpAdapterFile, _encoder_folder, _input_size, _require_fitting, _seen

ENCODER = SimpleNamespace(config=SimpleNamespace(image_size=224, patch_size=14))
PLAIN = {"proj.weight": torch.zeros(8, 1024), "norm.weight": torch.zeros(2)}
PLUS = {"proj_in.weight": torch.zeros(4, 1280), "latents": torch.zeros(1, 16, 4)}
FULL = {"proj.0.weight": torch.zeros(1280, 1280), "proj.3.weight": torch.zeros(4)}


@pytest.mark.parametrize(
    ("projection", "read", "seen"),
    [
        (PLAIN, ("projection_dim", 1024), (1024,)),
        (PLUS, ("hidden_size", 1280), (257, 1280)),
        (FULL, ("hidden_size", 1280), (257, 1280)),
    ],
)
def test_a_summary_or_all_patches(projection, read, seen):
    assert _input_size(projection) == read
    assert _seen(projection, ENCODER) == seen


def test_other_kinds_are_none():
    assert _input_size({"id_proj.weight": torch.zeros(2, 2)}) is None


@pytest.mark.parametrize(
    "projection",
    [
        PLAIN | {"proj.weight": torch.zeros(8)},
        PLUS | {"proj_in.weight": torch.zeros(())},
        FULL | {"proj.0.weight": torch.zeros(8)},
        {"proj.3.weight": torch.zeros(4)},
    ],
)
def test_what_is_of_no_such_shape_is_refused_in_words(projection):
    assert _input_size(projection) is None
    groups = {"image_proj": projection, "ip_adapter": {}}
    with pytest.raises(WeightsFileError, match="isn't known"):
        _require_fitting(AdapterFile(Path("ip.safetensors"), "", {}), groups, SimpleNamespace(attn_processors={}))


def test_the_image_encoder_lies_beside_or_is_named(tmp_path):
    path = tmp_path / "ip" / "ip-adapter_sdxl.safetensors"
    folder = path.parent / "image_encoder"
    folder.mkdir(parents=True)
    with pytest.raises(ModelError, match="--ip-encoder"):
        _encoder_folder(IpAdapterFile(path, None))
    (folder / "config.json").write_text("{}")
    assert _encoder_folder(IpAdapterFile(path, None)).resolve() == folder.resolve()
    assert _encoder_folder(IpAdapterFile(path, tmp_path)) == tmp_path
    with pytest.raises(ModelError, match="no such folder"):
        _encoder_folder(IpAdapterFile(path, tmp_path / "none"))
