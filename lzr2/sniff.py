"""Says what a file that isn't LZR2 looks like, from its first bytes."""

from __future__ import annotations

HEAD_NBYTES = 512

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer (the file itself was never downloaded: git lfs pull)"),
    (b"PK\x03\x04", "a zip archive (perhaps a PyTorch checkpoint)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip file (unpack it first)"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file (unpack it first)"),
    (b"\xfd7zXZ\x00", "an xz file (unpack it first)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it first)"),
    (b"GGUF", "a GGUF file"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"\x89PNG\r\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"\x80\x02", "a Python pickle (perhaps an old PyTorch checkpoint; never opened here)"),
)


def describe(head: bytes, nbytes: int) -> str:
    """A few words on what the file is. head: its first HEAD_NBYTES bytes (or all); nbytes: its size."""
    if nbytes == 0:
        return "an empty file"
    for signature, words in _SIGNATURES:
        if head.startswith(signature):
            return words
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "an HTML or XML page (a download that was answered with a web page, perhaps a login page)"
    if len(head) > 9 and int.from_bytes(head[:8], "little") < nbytes and head[8:9] == b"{":
        return "a safetensors file"
    if text.startswith((b"{", b"[")):
        return "JSON text"
    if not any(head):
        return "zeros (perhaps a download that hasn't finished)"
    if all(32 <= c < 127 or c in (9, 10, 13) for c in head):
        return "a text file"
    return f"data starting with {head[:8].hex(' ')}"
