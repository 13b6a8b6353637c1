"""Loading alone loads what a step streams, and nothing of what stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import load_alone
from streamer.models.demo import demo_directory


@pytest.mark.parametrize("ram_budget", ["0", "1GB"])
def test_a_smaller_budget_loads_more(demo_lzr2: Path, ram_budget: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(demo_directory() / "unet" / "config.json")
    loaded = []
    for budget in ("8MB", "16MB", "1GB"):
        arguments = [str(demo_lzr2), "--config", config, "--vram-budget", budget, "--ram-budget", ram_budget]
        assert load_alone.main([*arguments, "--pixels", "64", "--steps", "2"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert len(report["step_seconds"]) == 2
        loaded.append(report["loaded_nbytes"])
    assert loaded[0] > loaded[1] > loaded[2] == 0
