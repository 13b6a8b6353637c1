"""What a file is told to be, from its first bytes."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import zipfile

import pytest

from lzr2.sniff import describe


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "b")
    return file.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0\0"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"\xef\xbb\xbf\n<!DOCTYPE HTML><title>Sign in", "web page"),
        (b"<?xml version='1.0'?>", "web page"),
        (zipped(), "zip archive"),
        (gzip.compress(b"abc", mtime=0), "gzip"),
        (lzma.compress(b"abc"), "xz"),
        (safetensors(), "a safetensors file"),
        (b'  {"a": 1}', "JSON text"),
        (b"hello, world\n", "a text file"),
        (bytes(100), "zeros"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"GGUF\x03", "GGUF"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08\xff", "data starting with 01 02 03 04 05 06 07 08"),
    ],
)
def test_what_it_is(content: bytes, words: str) -> None:
    assert words in describe(content, len(content))


def test_a_length_beyond_the_file_is_no_safetensors() -> None:
    head = (1000).to_bytes(8, "little") + b"{}"
    assert "safetensors" not in describe(head, len(head))
    assert "safetensors" in describe(head, 2000)
