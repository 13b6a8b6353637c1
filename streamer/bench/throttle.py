"""A slower storage than the real one: reads take as long as its speed says."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

import torch

from streamer.bench.pace import Pace
from streamer.sources.base import HeldTensor, OnRead, TensorInfo, WeightSource


class ThrottledSource:
    """The same tensors, none before a storage of this speed would have given its bytes.

    A tensor that was read stays in the emulated page cache until `wont_need`. Reading ahead (`will_need`) is emulated:
    the bytes are then on their way while others are decoded. Reads that are slower by themselves aren't made faster.
    Owns the source below, and is as thread-safe as that.

    Args:
        below: gives the tensors.
        pace: of the storage.
    """

    def __init__(self, below: WeightSource, pace: Pace) -> None:
        self._below = below
        self._pace = pace
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}  # of tensors that were asked for, and stay until dropped
        self._on_read: OnRead | None = None

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
        """As the source below, not before the bytes would be there."""
        self._arrive(key)
        self._below.read_into(key, out)

    def hold(self, key: str) -> HeldTensor:
        """As the source below, not before the bytes would be there."""
        self._arrive(key)
        return self._below.hold(key)

    def will_need(self, key: str) -> None:
        """The bytes are on their way from now on."""
        self._asked(key)
        self._below.will_need(key)

    def wont_need(self, key: str) -> None:
        """The tensor leaves the emulated page cache; the real one may keep it, since its storage isn't the subject."""
        with self._lock:
            self._due.pop(key, None)

    def observe_reads(self, on_read: OnRead | None) -> None:
        """Told of the waits, too, as reads of no bytes."""
        self._on_read = on_read
        self._below.observe_reads(on_read)

    def close(self) -> None:
        """Closes the source below."""
        self._below.close()

    def _asked(self, key: str) -> float:
        with self._lock:
            due = self._due.get(key)
            if due is None:
                due = self._due[key] = self._pace.ask(self._below.info(key).stored_nbytes)
            return due

    def _arrive(self, key: str) -> None:
        on_read = self._on_read
        started = time.perf_counter()
        self._pace.wait(self._asked(key))
        if on_read is not None:
            on_read(started, time.perf_counter(), 0)
