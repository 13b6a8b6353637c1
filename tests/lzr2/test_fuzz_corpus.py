"""What fuzzing has found interesting stays read as the reference reads it, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lzr2 import indices

from .fuzz.read import check

CORPUS = sorted((Path(__file__).parent / "fuzz" / "corpus").iterdir())


def test_there_is_a_corpus() -> None:
    assert len(CORPUS) > 10


@pytest.mark.parametrize("least_nbytes", [0, indices._LEAST_NBYTES])
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_corpus(path: Path, least_nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indices, "_LEAST_NBYTES", least_nbytes)
    outcome = check(path.read_bytes())
    assert outcome == "as the reference" or outcome == "read" or outcome.endswith("Error")
