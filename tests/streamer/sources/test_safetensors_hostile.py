"""Files that aren't what they should be: always an error that names the file, and no memory for what isn't there."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from streamer.errors import WeightsFileError
from streamer.sources.safetensors import SafetensorsSource

GOOD = save({"a": torch.arange(4.0), "b": torch.ones(2, 2, dtype=torch.float16), "empty": torch.ones(0)})


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def content(header: object, data: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    os.utime(path, (1e9, 1e9))  # opening a file of this very moment takes longer


def refused(path: Path, data: bytes) -> str:
    write(path, data)
    tracemalloc.start()
    with pytest.raises(WeightsFileError) as caught:
        SafetensorsSource([path])
    assert tracemalloc.get_traced_memory()[1] < 4_000_000 + 100 * len(data)
    tracemalloc.stop()
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message) < 1500
    assert all(c.isprintable() or c == "\n" for c in message)
    return message


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_cut_short_anywhere(tmp_path, length):
    message = refused(tmp_path / "f", GOOD[:length])
    assert "cut short" in message or length <= 8
    assert "again" in message


def test_longer_than_its_tensors(tmp_path):
    assert f"the file at {len(GOOD) + 1}" in refused(tmp_path / "f", GOOD + b"\0")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html><body>Please log in</body></html>", "an HTML or XML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "a Git LFS pointer"),
        (b"PK\x03\x04" + bytes(100), "a zip archive"),
        (b"\x80\x02}q\x00." + bytes(100), "a Python pickle"),
        (bytes(1000), "zeros"),
        (b"\xff" * 100, "data starting with ff ff"),
        ((1 << 63).to_bytes(8, "little") + b"{}" + bytes(50), "data starting with 00 00"),
        ((100_000_001).to_bytes(8, "little") + b"{}" + bytes(50), "data starting with 01 e1"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path, data, what):
    assert f"not a safetensors file but {what}" in refused(tmp_path / "f", data)


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b'{"a": }',
        b'{"a": "\xff"}',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"a": {"dtype": "F32", "shape": [' + b"1" * 5000 + b'], "data_offsets": [0, 8]}}',
        '{"a": 1}'.encode("utf-16"),
    ],
)
def test_a_header_that_is_no_json(tmp_path, header):
    message = refused(tmp_path / "f", content(header))
    assert "header is no JSON" in message or "not a safetensors file" in message


HUGE = 1 << 61


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (7, "a JSON object"),
        ([], "a JSON object"),
        ({}, "found None, expected one of the types"),
        (entry(dtype="F31"), "found 'F31', expected one of the types F64, F32"),
        (entry(dtype="x" * 100_000), "one of the types"),
        (entry(dtype=["F32"]), "one of the types"),
        (entry(shape=None), "a list of at most 32 sizes"),
        (entry(shape=[-2]), "a list of at most 32 sizes"),
        (entry(shape=[2.0]), "a list of at most 32 sizes"),
        (entry(shape=[True, 2]), "a list of at most 32 sizes"),
        (entry(shape=[1] * 33), "a list of at most 32 sizes"),
        (entry(shape=[1 << 62]), "a list of at most 32 sizes"),
        (entry(shape=["\x1b[2J"]), "a list of at most 32 sizes"),
        (entry(shape=[1 << 40, 1 << 40]), "fewer weights"),
        (entry(shape=[0, HUGE, HUGE], offsets=[0, 0]), "fewer weights"),
        (entry(shape=[1 << 33], offsets=[0, 1 << 35]), "cut short"),
        (entry(shape=[3]), "a range of 12 bytes for the shape [3]"),
        (entry(shape=[]), "a range of 4 bytes for the shape []"),
        (entry(offsets=None), "two offsets"),
        (entry(offsets=[0]), "two offsets"),
        (entry(offsets=[0, 8, 8]), "two offsets"),
        (entry(offsets=[-8, 0]), "two offsets"),
        (entry(offsets=[0, 1 << 64]), "two offsets"),
        (entry(offsets=[8, 0]), "a range of 8 bytes"),
        (entry(offsets=[HUGE, HUGE + 8]), "cut short"),
        (entry(offsets=[1, 9]), "cut short"),
    ],
)
def test_an_entry_that_breaks_a_rule(tmp_path, bad, words):
    assert words in refused(tmp_path / "f", content({"k\x1b[0m": bad}))


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"a": entry(), "b": entry()}, bytes(8)),
        ({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)),
        ({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)),
        ({"a": entry(offsets=[4, 12])}, bytes(12)),
        ({"a": entry(), "e": entry(shape=[0], offsets=[4, 4])}, bytes(8)),
        ({}, bytes(1)),
    ],
)
def test_tensors_that_overlap_or_leave_holes(tmp_path, header, data):
    path = tmp_path / "f"
    assert "byte" in refused(path, content(header, data))
    with pytest.raises(SafetensorError):
        safe_open(path, "np").__enter__()


def test_metadata_alone_is_an_empty_source(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(content({"__metadata__": {"a": "b"}}, b""))
    assert list(SafetensorsSource([path]).keys()) == []


def test_a_directory(tmp_path):
    with pytest.raises(WeightsFileError, match="a directory"):
        SafetensorsSource([tmp_path])


def test_a_missing_file(tmp_path):
    with pytest.raises(WeightsFileError, match=r"gone\.safetensors: there is no such file"):
        SafetensorsSource([tmp_path / "gone.safetensors"])


def test_a_file_that_is_refused_is_let_go_with_those_before_it(tmp_path):
    (tmp_path / "good").write_bytes(GOOD)
    (tmp_path / "bad").write_bytes(GOOD[:-1])
    with pytest.raises(WeightsFileError):
        SafetensorsSource([tmp_path / "good", tmp_path / "bad"])
    assert not [file for file in psutil.Process().open_files() if Path(file.path).parent == tmp_path]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_is_an_error_or_leaves_a_file_that_the_library_reads_too(tmp_path, changes):
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    path = tmp_path / "f"
    write(path, data)
    try:
        source = SafetensorsSource([path], "pread")
    except WeightsFileError:
        return
    with safe_open(path, "pt") as library:
        assert set(source.keys()) == set(library.keys())
        for key in source.keys():
            expected = library.get_tensor(key)
            out = torch.empty(source.info(key).shape, dtype=expected.dtype)
            source.read_into(key, out)
            as_bytes = [t.reshape(-1).view(torch.uint8).numpy() for t in (out, expected)]
            assert np.array_equal(*as_bytes)
    source.close()
