"""A setting survives the way to the child."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.compare.setting import Setting


@pytest.mark.parametrize(("device", "compute"), [("cpu", "float32"), ("cuda", "float16")])
def test_it_is_the_same_after_json(device, compute):
    options = {"vram_budget": "1GB", "ram_budget": None, "stream": True}
    setting = Setting("streamed", options, Path("a"), Path("b c"), Path("d"), Path("e"), device, 512, 1, 3, 1)
    assert Setting.from_json(setting.to_json()) == setting
    assert setting.compute == compute
