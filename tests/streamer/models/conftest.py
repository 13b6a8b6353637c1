"""Pipelines that the tests of one file share. Whoever changes one puts it back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import streamer
from tests.streamer.models.pairs import BUDGET, quiet, whole_pipeline


@pytest.fixture(scope="module")
def whole() -> Any:
    return whole_pipeline()


@pytest.fixture(scope="module")
def pipe(demo_lzr2: Path) -> Iterator[Any]:
    loaded = quiet(streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu"))
    yield loaded
    loaded.streaming.close()
