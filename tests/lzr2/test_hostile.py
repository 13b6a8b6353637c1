"""A stranger's file: one typed error that says where and why, in little memory and time; never other weights."""

from __future__ import annotations

import gzip
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lzr2
from lzr2 import errors, layout

from . import reference
from .reference import header, payload, record, simple_record


def read_everything(data: bytes) -> dict[str, bytes]:
    """Every tensor as bytes, whole and inflated; both must agree."""
    with lzr2.open(data) as file:
        tensors = {}
        for key in file.keys():
            tensors[key] = file.get_tensor(key).tobytes()
            out = np.empty(file.shape(key), np.float16)
            lzr2.decode_inflated_into(file.read_inflated(key), out)
            assert out.tobytes() == tensors[key]
        return tensors


def indices(*values: int) -> bytes:
    return np.array(values, "<u2").tobytes()


GOOD = bytes(2 * 3 * 3)  # three rows of three indices
RAW = zlib.compressobj(wbits=-15)
RAW_DEFLATE = RAW.compress(GOOD) + RAW.flush()

MALFORMED: dict[str, tuple[bytes, type[errors.Lzr2Error]]] = {
    "key length": (b"LZR2" + struct.pack("<I", 2**32 - 1) + b"a" * 50, errors.KeyFieldError),
    "key over 4 KiB": (b"LZR2" + header("k" * 4097, (1,), 0), errors.KeyFieldError),
    "key not UTF-8": (b"LZR2" + header(b"\xff\xfe", (1,), 0), errors.KeyFieldError),
    "key cut": (b"LZR2" + struct.pack("<I", 10) + b"abc", errors.TruncatedError),
    "dimensions": (b"LZR2" + struct.pack("<I1sI", 1, b"a", 9) + bytes(100), errors.ShapeError),
    "dimensions absurd": (b"LZR2" + struct.pack("<I1sI", 1, b"a", 2**32 - 1) + bytes(100), errors.ShapeError),
    "too many weights": (b"LZR2" + header("a", (2**17, 2**17), 0), errors.ShapeError),
    "huge next to zero": (b"LZR2" + header("a", (0, 2**32 - 1, 2**32 - 1), 0), errors.ShapeError),
    "no dimensions": (b"LZR2" + header("a", (), 1) + bytes(100), errors.ShapeError),
    "d zero": (payload(d=0, stream=b""), errors.BlockLengthError),
    "d 33": (payload(d=33), errors.BlockLengthError),
    "d absurd": (b"LZR2" + header("a", (3, 20), 1) + b"\xff" * 64, errors.BlockLengthError),
    "rows absurd": (b"LZR2" + header("a", (2**32 - 1, 1), 1) + struct.pack("<I", 8) + bytes(64), errors.TruncatedError),
    "zlib length": (payload(z_nbytes=2**32 - 1), errors.TruncatedError),
    "zlib empty": (payload(stream=b""), errors.StreamError),
    "overlay count": (payload(count=2**32 - 1), errors.TruncatedError),
    "overlay cut": (payload(count=2, entries=bytes(15)), errors.TruncatedError),
    "overlay missing": (payload(count=1), errors.TruncatedError),
    "trailing byte": (payload() + b"\0", errors.TruncatedError),
    "bomb": (payload(stream=zlib.compress(bytes(10_000_000), 9)), errors.StreamSizeError),
    "one block too many": (payload(stream=zlib.compress(bytes(2 * 3 * (2 * 3 + 64 + 1)))), errors.StreamSizeError),
    "checksum cut": (payload(stream=zlib.compress(GOOD)[:-1]), errors.StreamError),
    "checksum absent": (payload(stream=zlib.compress(GOOD)[:-4]), errors.StreamError),
    "checksum wrong": (payload(stream=zlib.compress(GOOD)[:-1] + b"\xee"), errors.StreamError),
    "bytes after the stream": (payload(stream=zlib.compress(GOOD) + b"\0"), errors.StreamError),
    "two streams": (payload(stream=zlib.compress(GOOD[:6]) + zlib.compress(GOOD[6:])), errors.StreamError),
    "two pieces of streams": (payload(stream=zlib.compress(GOOD) + bytes(70_000)), errors.StreamError),
    "gzip": (payload(stream=gzip.compress(GOOD)), errors.StreamError),
    "raw deflate": (payload(stream=RAW_DEFLATE), errors.StreamError),
    "odd size": (payload(stream=zlib.compress(GOOD[:-1])), errors.StreamSizeError),
    "no multiple": (payload(stream=zlib.compress(GOOD[:-2])), errors.StreamSizeError),
    "index 3^d": (payload(stream=zlib.compress(indices(*[0] * 8, 3**8))), errors.IndexValueError),
    "index 65535": (payload((1, 5), 1, zlib.compress(indices(0, 1, 2, 0, 65535))), errors.IndexValueError),
    "index past the row": (payload((1, 1), 1, zlib.compress(indices(0, 1, 2, 3))), errors.IndexValueError),
    "content without rows": (payload((0, 4), 8, zlib.compress(b"\0\0")), errors.StreamSizeError),
    "too many records": (b"LZR2" + header("", (), 0) * 8193, errors.TooManyRecordsError),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str, tmp_path: Path) -> None:
    data, kind = MALFORMED[name]
    path = tmp_path / "hostile.lzr2"
    path.write_bytes(data)
    with pytest.raises(errors.MalformedRecordError) as caught:
        lzr2.load_file(path)
    assert type(caught.value) is kind
    assert caught.value.path == str(path)
    assert caught.value.offset is not None
    assert caught.value.advice
    assert str(path) in str(caught.value)
    report = lzr2.verify(path)
    assert not report.ok()
    assert [f.kind for f in report.findings if f.severity == "error"] == [kind.__name__]


@pytest.mark.parametrize("name", ["index 3^d", "bomb", "gzip", "overlay count", "d zero", "odd size"])
def test_the_error_names_key_offset_found_and_expected(name: str) -> None:
    data, _ = MALFORMED[name]
    with pytest.raises(errors.MalformedRecordError) as caught:
        read_everything(data)
    assert caught.value.key == "a"
    assert 4 <= (caught.value.offset or 0) <= len(data)
    assert "record 'a'" in str(caught.value)


@pytest.mark.parametrize("seed", range(3))
def test_every_truncation_point(seed: int) -> None:
    data = b"LZR2" + simple_record("first", seed=seed) + simple_record("second", 2, 9, 5, seed=seed)
    starts = [4, 4 + len(simple_record("first", seed=seed)), len(data)]
    whole = read_everything(data)
    for n in range(len(data)):
        if n in starts:
            assert read_everything(data[:n]).items() <= whole.items()
        else:
            with pytest.raises(errors.NotLzr2Error if n < 4 else errors.TruncatedError):
                read_everything(data[:n])


@pytest.mark.parametrize("seed", range(2))
def test_every_flipped_bit_is_an_error_or_what_the_reference_reads(seed: int) -> None:
    """Without checksums a flip may change weights, but never into something the format doesn't say."""
    data = b"LZR2" + simple_record(rows=2, columns=9, d=4, seed=seed)
    errors_seen = 0
    for changed in reference.flips(data, range(8 * len(data))):
        try:
            tensors = read_everything(changed)
        except lzr2.Lzr2Error:
            errors_seen += 1
            continue
        assert tensors == {k: t.tobytes() for k, t in reference.decode(changed).items()}
    assert errors_seen > 8 * 20


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), cut=st.integers(0, 300))
def test_random_bytes_after_a_valid_start(data: bytes, cut: int) -> None:
    base = b"LZR2" + simple_record(rows=2, columns=5, d=2)
    try:
        tensors = read_everything(base[: 4 + cut] + data)
    except lzr2.Lzr2Error:
        return
    assert all(isinstance(t, bytes) for t in tensors.values())


WHAT_IT_IS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file"),
    "cut signature": (b"LZR", "a text file"),
    "HTML": (b"<!DOCTYPE html><html><body>Sign in", "HTML"),
    "HTML after space": (b"\n  <HTML>", "HTML"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
    "zip": (b"PK\x03\x04rest", "zip archive"),
    "gzip": (gzip.compress(b"LZR2"), "gzip"),
    "safetensors": (struct.pack("<Q", 20) + b'{"a":{"dtype":"F16"}' + bytes(100), "safetensors"),
    "pickle": (b"\x80\x02}q\x00.", "pickle"),
    "JSON": (b'{"error": "not found"}', "JSON"),
    "zeros": (bytes(4096), "zeros"),
    "text": (b"hello there", "text"),
    "noise": (b"\x01\x02\x03\xf4\xf5\xf6\xf7\xf8\xf9", "data starting with 01 02 03 f4"),
    "GGUF": (b"GGUF\x03\0\0\0", "GGUF"),
}


@pytest.mark.parametrize("name", WHAT_IT_IS)
def test_the_error_says_what_the_file_really_is(name: str, tmp_path: Path) -> None:
    data, words = WHAT_IT_IS[name]
    (tmp_path / "x.lzr2").write_bytes(data)
    with pytest.raises(errors.NotLzr2Error, match=words) as caught:
        lzr2.open(tmp_path / "x.lzr2")
    assert caught.value.offset == 0
    assert "LZR2" in str(caught.value)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _directory(path: Path) -> None:
    path.mkdir()


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_fifo, "a pipe"),
        (_loop, "a loop of symbolic links"),
        (_directory, "a directory"),
        (_device, "a character device"),
    ],
)
def test_what_is_no_file(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    make(tmp_path / "x.lzr2")
    with pytest.raises(errors.UnreadableFileError, match=words):
        lzr2.open(tmp_path / "x.lzr2")


def test_a_missing_file_is_also_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        lzr2.open(tmp_path / "none.lzr2")
    with pytest.raises(errors.MissingFileError):
        lzr2.Index.build(tmp_path / "none.lzr2")


def test_a_path_that_is_none() -> None:
    with pytest.raises(errors.UnreadableFileError, match="not a path"):
        lzr2.open("a\0b")


def test_a_sparse_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.lzr2"
    with path.open("wb") as file:
        file.write(b"LZR2" + header("a", (2**30, 4), 1) + struct.pack("<I", 8))
        file.truncate(1 << 40)
    began = time.perf_counter()
    with pytest.raises(lzr2.Lzr2Error):
        lzr2.load_file(path)
    assert time.perf_counter() - began < 5  # seconds for a terabyte


def test_control_characters_in_keys_are_escaped_when_shown() -> None:
    key = "a\x1b[31m\n\u202e\x00b"
    with lzr2.open(b"LZR2" + simple_record(key)) as file:
        assert file.keys() == [key]
    data = payload(key=key, stream=b"no")
    with pytest.raises(errors.StreamError) as caught:
        read_everything(data)
    assert str(caught.value).isprintable()
    assert "a\\x1b[31m\\n\\u202e\\x00b" in str(caught.value)
    assert all(f.text.isprintable() for f in lzr2.verify(data).findings)


def test_long_keys_are_cut_when_shown() -> None:
    data = payload(key="k" * 4096, stream=b"no")
    with pytest.raises(errors.StreamError) as caught:
        read_everything(data)
    assert len(str(caught.value)) < 600
    assert caught.value.key == "k" * 4096


@pytest.mark.parametrize("d", [11, 12, 16, 32])
def test_large_d_is_legal(d: int) -> None:
    rng = np.random.default_rng(d)
    data = b"LZR2" + record(
        "a",
        (3, 50),
        d,
        rng.normal(size=3),
        rng.normal(size=3),
        rng.integers(0, 65536, (3, -(-50 // d))).astype(np.uint16),
    )
    assert read_everything(data) == {k: t.tobytes() for k, t in reference.decode(data).items()}
    assert "large d" in [f.kind for f in lzr2.verify(data).findings]


def test_a_record_without_payload_undoes_nothing() -> None:
    data = b"LZR2" + simple_record("a") + header("a", (3, 20), 0)
    assert list(read_everything(data)) == ["a"]
    assert {"repeated key", "no payload"} <= {f.kind for f in lzr2.verify(data).findings}


def test_the_limits_are_those_of_the_format() -> None:
    assert (layout.MAX_KEY_NBYTES, layout.MAX_NDIM, layout.MAX_WEIGHTS, layout.MAX_D) == (4096, 8, 2**33, 32)
