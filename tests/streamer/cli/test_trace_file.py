"""``--trace``: written at the end, also after a fault; a name that can't be written to is refused before."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from streamer.cli.trace_file import check_trace_path, traced
from streamer.config import StreamSettings
from streamer.errors import SettingError
from tests.streamer.tower import LAYER_NBYTES, WIDTH, Tower, stream_tower

torch = pytest.importorskip("torch")


def test_only_json_and_png_in_a_folder_that_exists(tmp_path):
    check_trace_path(tmp_path / "t.JSON")
    check_trace_path(tmp_path / "t.png")
    for path in (tmp_path / "t.txt", tmp_path / "no" / "t.json"):
        with pytest.raises(SettingError, match="can't be written"):
            check_trace_path(path)
    (tmp_path / "d.png").mkdir()
    with pytest.raises(SettingError, match="can't be written"):
        check_trace_path(tmp_path / "d.png")


@pytest.mark.parametrize("fails", [False, True])
def test_the_trace_has_what_ran(tmp_path, fails):
    tower = Tower()
    handle, _ = stream_tower(tower, StreamSettings(512 + LAYER_NBYTES, 0, 2))
    path = tmp_path / "t.json"
    with handle, torch.no_grad():
        try:
            with traced(handle, path):
                tower(torch.rand(1, WIDTH))
                if fails:
                    raise OSError("disk full")
        except OSError:
            assert fails
        with traced(handle, tmp_path / "t.png"):
            tower(torch.rand(1, WIDTH))
        with traced(handle, None):
            pass
    events = json.loads(path.read_text("utf-8"))["traceEvents"]
    computed = [event["name"] for event in events if event.get("cat") == "compute"]
    assert computed == [f"layers.{i}" for i in range(6)]
    decoded = {event["name"] for event in events if event.get("cat") == "decode"}
    assert {f"layers.{i}.weight" for i in range(1, 6)} <= decoded  # the first was on its way before
    with Image.open(tmp_path / "t.png") as image:
        assert image.format == "PNG"
