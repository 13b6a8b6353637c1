"""Decoded weights on a fast local disk: two bytes a weight instead of decoding many more again at each step."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Collection
from pathlib import Path

import torch
import xxhash

from streamer.errors import SpillError
from streamer.sources.base import HeldTensor, OnRead, TensorInfo, WeightSource
from streamer.sources.cast import copy_cast
from streamer.tiers.spill_file import Bytes, SpillFile

_WORTH = 1.5
"""How many times the bytes of float16 a tensor has to take in its file."""


def is_spillable(info: TensorInfo) -> bool:
    """Whether the tensor's float16 values are all there is to it, and are clearly fewer bytes than its file has."""
    return (
        info.origin is not None
        and info.dtype == torch.float16
        and info.inflated is None
        and info.stored_nbytes > _WORTH * 2 * info.weights
    )


class SpillTier:
    """A source that decodes each chosen tensor once, keeps it in a local file, and reads it from there ever after.

    The file stays for the next time; it is named after what its values were decoded from, so it is never taken for
    another model's. Anything that goes wrong with it costs a warning, and tensors are decoded as without it.

    Thread-safe but for `choose` and `close`. Memory: one tensor in float16 for each thread that decodes
    it, or reads it in another type than these two. The source below isn't owned.

    Args:
        below: decodes.
        folder: of the file.
    """

    def __init__(self, below: WeightSource, folder: Path) -> None:
        self._below = below
        self._folder = folder
        self._chosen: frozenset[str] = frozenset()
        self._file: SpillFile | None = None
        self._failed = False
        self._on_read: OnRead | None = None
        self._lock = threading.Lock()

    @property
    def path(self) -> Path | None:
        """Of the file; None while there is none."""
        return self._file.path if self._file is not None else None

    def choose(self, keys: Collection[str]) -> None:
        """From now on these are kept in the file once decoded, as far as they are spillable.

        Args:
            keys: that will be read again.
        """
        self._chosen = frozenset(key for key in keys if is_spillable(self._below.info(key)))
        if self._chosen and self._file is None and not self._failed:
            self._tried(self._open)

    @property
    def name(self) -> str:
        """Of the source below."""
        return self._below.name

    @property
    def label(self) -> str:
        """Of the source below."""
        return self._below.label

    def keys(self) -> Collection[str]:
        """Of the source below."""
        return self._below.keys()

    def mentioned(self) -> Collection[tuple[str, tuple[int, ...]]]:
        """Of the source below."""
        return self._below.mentioned()

    def info(self, key: str) -> TensorInfo:
        """Of the source below."""
        return self._below.info(key)

    def read_into(self, key: str, out: torch.Tensor) -> None:
        """From the file if it is there, else from the source below and then into the file."""
        file = self._file
        if file is None or key not in self._chosen:
            self._below.read_into(key, out)
            return
        if self._read_spilled(file, key, out):
            return
        half = _in_half(out)
        self._below.read_into(key, half)
        self._tried(lambda: file.write(key, _raw(half)))
        self._below.wont_need(key)
        if half is not out:
            copy_cast(out, half)

    def hold(self, key: str) -> HeldTensor:
        """From the source below."""
        return self._below.hold(key)

    def will_need(self, key: str) -> None:
        """Of the file where the tensor is in it, else passed on."""
        self._advise(key, needed=True)

    def wont_need(self, key: str) -> None:
        """Of the file where the tensor is in it, else passed on."""
        self._advise(key, needed=False)

    def observe_reads(self, on_read: OnRead | None) -> None:
        """Of the source below, and of the file."""
        self._on_read = on_read
        self._below.observe_reads(on_read)

    def close(self) -> None:
        """Lets go of the file, which stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read_spilled(self, file: SpillFile, key: str, out: torch.Tensor) -> bool:
        """Whether the tensor was in the file and is now in ``out``."""
        started = time.perf_counter()
        if out.dtype == torch.float32:
            seconds = file.read_widened_into(key, out.view(-1).numpy())
            if seconds is None:
                return False
        else:
            half = _in_half(out)
            if not file.read_into(key, _raw(half)):
                return False
            seconds = time.perf_counter() - started
            if half is not out:
                copy_cast(out, half)
        if self._on_read is not None:
            self._on_read(started, started + seconds, 2 * out.numel())
        return True

    def _open(self) -> None:
        infos = {key: self._below.info(key) for key in self._below.keys()}
        spillable = {key: info for key, info in infos.items() if is_spillable(info)}
        origins = "\n".join(f"{key}:{info.origin}" for key, info in spillable.items())
        identity = xxhash.xxh3_128_hexdigest(origins.encode("utf-8", "surrogatepass"))
        self._file = SpillFile(self._folder, identity, {key: info.shape for key, info in spillable.items()})

    def _tried(self, action: Callable[[], None]) -> None:
        """Does it; if that fails, the file isn't used any more, and one warning says so."""
        try:
            action()
        except SpillError as error:
            with self._lock:
                told, self._failed = self._failed, True
            self._chosen = frozenset()
            if not told:
                warnings.warn(f"{error.message} Weights are decoded again at each step.", RuntimeWarning, stacklevel=2)

    def _advise(self, key: str, *, needed: bool) -> None:
        file = self._file
        if file is not None and key in self._chosen and file.has(key):
            file.advise(key, needed=needed)
        elif needed:
            self._below.will_need(key)
        else:
            self._below.wont_need(key)


def _in_half(out: torch.Tensor) -> torch.Tensor:
    """The tensor itself if it is of float16, else memory for its values in float16."""
    return out if out.dtype == torch.float16 else torch.empty(out.shape, dtype=torch.float16, device="cpu")


def _raw(half: torch.Tensor) -> Bytes:
    raw: Bytes = half.view(-1).view(torch.uint8).numpy()
    return raw
