"""A file and its scale, also with a colon in the path."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.cli.lora_option import parse_lora
from streamer.errors import SettingError


@pytest.mark.parametrize(
    ("text", "path", "scale"),
    [
        ("x.safetensors", "x.safetensors", 1.0),
        ("x.safetensors:0.8", "x.safetensors", 0.8),
        ("x.safetensors:-1", "x.safetensors", -1.0),
        ("C:\\x.safetensors", "C:\\x.safetensors", 1.0),
        ("C:\\x.safetensors:0.8", "C:\\x.safetensors", 0.8),
        ("C:/loras/x.safetensors:.5", "C:/loras/x.safetensors", 0.5),
        ("/a:b/x.safetensors", "/a:b/x.safetensors", 1.0),
        ("x.bin:1", "x.bin", 1.0),
    ],
)
def test_file_and_scale(text, path, scale):
    assert parse_lora(text) == (Path(path), scale)


def test_a_file_of_exactly_this_name_is_meant(tmp_path):
    odd = tmp_path / "style:2"
    odd.touch()
    assert parse_lora(str(odd)) == (odd, 1.0)
    assert parse_lora(f"{odd}:3") == (odd, 3.0)


@pytest.mark.parametrize(
    ("text", "words"), [("x.safetensors:much", "'much' is no number"), ("", "a file"), (":1", "a file")]
)
def test_what_makes_no_sense_is_told(text, words):
    with pytest.raises(SettingError, match=words):
        parse_lora(text)
