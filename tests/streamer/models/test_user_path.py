"""Paths as a user writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.cli.conditions import ConditionOptions
from streamer.cli.gen import _folder
from streamer.cli.grid import GridName
from streamer.cli.lora_option import parse_lora
from streamer.cli.pairs import _BETWEEN
from streamer.cli.pictures import PictureNames
from streamer.cli.prompts_file import read_prompts
from streamer.errors import SettingError
from streamer.models.controlnet import find_control
from streamer.models.directory import find_model, is_model
from streamer.models.user_path import user_path

NOBODYS = "~no-such-user-here/x.safetensors"


def test_home_is_written_out_and_the_rest_stays(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/a") == Path("/home/me/a")
    assert user_path(Path("b/~")) == Path("b/~")


@pytest.mark.parametrize(
    "use",
    [
        user_path,
        is_model,
        lambda path: find_model(path, with_unet=False, notify=pytest.fail),
        lambda path: find_control(path, pytest.fail),
        lambda path: PictureNames(path, 1),
        lambda path: GridName(path, Path()),
        _folder,
        read_prompts,
        parse_lora,
        lambda path: parse_lora(f"{path}:0.5"),
        lambda path: ConditionOptions(image=Path(path)).conditioning(pytest.fail),
        lambda path: ConditionOptions(control=[_BETWEEN.join(("c", path))]).conditioning(pytest.fail),
        lambda path: ConditionOptions(ip_adapter=_BETWEEN.join(("a", path))).conditioning(pytest.fail),
        lambda path: ConditionOptions(ip_adapter=_BETWEEN.join((path, "p"))).extras(),
        lambda path: ConditionOptions(ip_adapter=_BETWEEN.join(("a", "p")), ip_encoder=Path(path)).extras(),
    ],
)
def test_a_home_that_is_not_there_is_told_with_its_path(use):
    with pytest.raises(SettingError, match="no-such-user-here"):
        use(NOBODYS)
