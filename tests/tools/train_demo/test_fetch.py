"""Packages are what they were, or refused."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from tools.train_demo import fetch as module
from tools.train_demo.fetch import NAMES, PICTURES, FetchError, Package, fetch, read_json


def archive(content: dict) -> bytes:
    data = json.dumps(content).encode()
    with io.BytesIO() as held:
        with tarfile.open(fileobj=held, mode="w:gz") as tar:
            info = tarfile.TarInfo("package/icons.json")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        return held.getvalue()


CONTENT = archive({"sun": 1})
PACKAGE = Package("@a/b", "1.0", base64.b64encode(hashlib.sha512(CONTENT).digest()).decode(), "MIT", "someone")


@pytest.fixture
def served(monkeypatch):
    """What the registry answers; counts how often it was asked."""
    asked: list[str] = []

    def answer(content: bytes) -> list[str]:
        def opened(url, timeout):
            asked.append(url)
            return io.BytesIO(content)

        monkeypatch.setattr(module.shutil, "which", lambda name: None)
        monkeypatch.setattr(module.urllib.request, "urlopen", opened)
        return asked

    return answer


def test_a_package_is_fetched_once(served, tmp_path):
    asked = served(CONTENT)
    for _ in range(2):
        assert read_json(fetch(PACKAGE, tmp_path), "icons.json") == {"sun": 1}
    assert asked == ["https://registry.npmjs.org/@a/b/-/b-1.0.tgz"]


def test_another_content_is_refused_and_not_kept(served, tmp_path):
    served(archive({"sun": 2}))
    with pytest.raises(FetchError, match="isn't what it was"):
        fetch(PACKAGE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_was_damaged_is_fetched_again(served, tmp_path):
    asked = served(CONTENT)
    fetch(PACKAGE, tmp_path).write_bytes(b"half")
    assert fetch(PACKAGE, tmp_path).read_bytes() == CONTENT
    assert len(asked) == 2


def test_a_file_that_is_not_in_it_is_told(served, tmp_path):
    served(CONTENT)
    with pytest.raises(FetchError, match=r"has no other\.json"):
        read_json(fetch(PACKAGE, tmp_path), "other.json")


def test_no_network_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "REGISTRY", "http://127.0.0.1:9")
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(FetchError, match="can't be fetched"):
        fetch(PACKAGE, tmp_path)


def test_archives_are_named_as_npm_names_them():
    assert PICTURES.archive == "iconify-json-fluent-emoji-flat-1.2.6.tgz"
    assert NAMES.archive == "emojibase-data-17.0.0.tgz"
    assert Path(NAMES.url).name == NAMES.archive
