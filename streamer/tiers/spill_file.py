"""A local file of decoded tensors: safetensors with all offsets fixed beforehand, and a journal of what is in it.

A tensor is in the file once the journal says so, with the digest of its bytes. Whoever opens the two later believes
neither: the layout has to be exactly the one expected, and each tensor has to have its digest whenever it is read. So a
crash at any moment, a torn write or a changed byte costs a tensor to be decoded again, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import struct
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xxhash

from streamer.errors import SpillError
from streamer.sources.cast import copy_cast

Bytes = npt.NDArray[np.uint8]

_SPARE = 1.05  # of the space that it needs: others write to the disk too
_LINE = re.compile(rb"([0-9]{1,9}) ([0-9a-f]{32})\n")
_LINE_NBYTES = 9 + 1 + 32 + 1
_PIECE = 1 << 24
_WIDENED_AT_ONCE = 1 << 19  # values
_FAR = 1 << 48  # where nothing is: a lock there keeps nobody from reading


class SpillFile:
    """Tensors in float16 at fixed places of one file, which this process alone uses. Thread-safe.

    Args:
        folder: where it is made, if it isn't there already.
        identity: of the values: for others the file has another name.
        shapes: of the tensors, by key.

    Raises:
        SpillError: the folder can't be written, has too little room, or another process uses the file.
    """

    def __init__(self, folder: Path, identity: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        header, self._ranges = _lay_out(shapes)
        self._numbers = {key: i for i, key in enumerate(shapes)}
        self._digests: dict[str, str] = {}
        self._lock = threading.Lock()
        name = f"streamer-{xxhash.xxh3_128_hexdigest(identity.encode() + header)}.safetensors"
        self.path = folder / name
        self.nbytes = len(header) + sum(nbytes for _, nbytes in self._ranges.values())
        self._fd = self._journal = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = _open_own(self.path)
            if not self._is_laid_out(header):
                self._begin(folder, header)
            self._journal = _open_own(self.path.with_suffix(".journal"))
            self._read_journal()
        except OSError as error:
            self.close()
            raise SpillError(str(self.path), f"it can't be used ({error.strerror or error})") from error
        except BaseException:
            self.close()
            raise

    def has(self, key: str) -> bool:
        """Whether the tensor was written, as far as is known."""
        return key in self._digests

    def read_into(self, key: str, out: Bytes) -> bool:
        """Whether the tensor's bytes are now in ``out``: False where they aren't in the file, or aren't what they were.

        Args:
            key: of the tensor.
            out: of its size.
        """
        offset, nbytes = self._ranges[key]
        if key not in self._digests or out.nbytes != nbytes:
            return False
        there = self._read_at(offset, out)
        return self._is_sound(key, xxhash.xxh3_128_hexdigest(out.data) if there else "")

    def read_widened_into(self, key: str, out: npt.NDArray[np.float32]) -> float | None:
        """As `read_into`, widened to float32: the seconds spent in reading, or None instead of False.

        What isn't what it was has been written to ``out``, too. Memory: 1 MiB.

        Args:
            key: of the tensor.
            out: one-dimensional, contiguous, of its size.
        """
        offset, nbytes = self._ranges[key]
        if key not in self._digests or out.nbytes != 2 * nbytes:
            return None
        # Piece by piece: each is still in the processor's cache when it is summed, and when it is widened.
        halves = np.empty(min(out.size, _WIDENED_AT_ONCE), np.float16)
        digest, seconds, there = xxhash.xxh3_128(), 0.0, True
        for start in range(0, out.size, _WIDENED_AT_ONCE):
            target = out[start : start + _WIDENED_AT_ONCE]
            piece = halves[: target.size]
            started = time.perf_counter()
            there = self._read_at(offset + 2 * start, piece.view(np.uint8))
            seconds += time.perf_counter() - started
            if not there:
                break
            digest.update(piece.data)
            copy_cast(torch.from_numpy(target), torch.from_numpy(piece))
        return seconds if self._is_sound(key, digest.hexdigest() if there else "") else None

    def write(self, key: str, values: Bytes) -> None:
        """The tensor's bytes are in the file from now on.

        Raises:
            SpillError: they can't be written; what was in the file stays.
        """
        offset, _ = self._ranges[key]
        digest = xxhash.xxh3_128_hexdigest(values.data)
        try:
            self._write_at(offset, values)
            with self._lock:
                os.write(self._journal, f"{self._numbers[key]} {digest}\n".encode())
                self._digests[key] = digest
        except OSError as error:
            raise SpillError(str(self.path), f"it can't be written ({error.strerror or error})") from error

    def advise(self, key: str, *, needed: bool) -> None:
        """Tells the system that the tensor's bytes will be read soon, or not soon again."""
        advice = "POSIX_FADV_WILLNEED" if needed else "POSIX_FADV_DONTNEED"
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._fd, *self._ranges[key], getattr(os, advice))

    def close(self) -> None:
        """Lets go of the file, which stays. Further calls do nothing."""
        open_ones = self._fd, self._journal
        self._fd = self._journal = -1  # first: a number that was closed may soon be another file's
        for fd in open_ones:
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)

    def _is_sound(self, key: str, digest: str) -> bool:
        """Whether this is the tensor's digest; if not, it isn't in the file any more."""
        with self._lock:
            if self._digests.get(key) == digest:
                return True
            self._digests.pop(key, None)
            return False

    def _read_at(self, offset: int, out: Bytes) -> bool:
        """Whether so many bytes were there to be read."""
        done = 0
        try:
            while done < out.nbytes:
                if hasattr(os, "preadv"):
                    count = os.preadv(self._fd, [out[done:].data], offset + done)
                else:  # Windows: one file position for all threads
                    with self._lock:
                        os.lseek(self._fd, offset + done, os.SEEK_SET)
                        piece = os.read(self._fd, min(_PIECE, out.nbytes - done))
                    count = len(piece)
                    out[done : done + count] = np.frombuffer(piece, np.uint8)
                if not count:
                    return False
                done += count
        except OSError:
            return False
        return True

    def _write_at(self, offset: int, values: Bytes) -> None:
        done = 0
        while done < values.nbytes:
            piece = values[done : done + _PIECE].data
            if hasattr(os, "pwrite"):
                done += os.pwrite(self._fd, piece, offset + done)
            else:
                with self._lock:
                    os.lseek(self._fd, offset + done, os.SEEK_SET)
                    done += os.write(self._fd, piece)

    def _is_laid_out(self, header: bytes) -> bool:
        there = np.empty(len(header), np.uint8)
        return os.fstat(self._fd).st_size == self.nbytes and self._read_at(0, there) and there.tobytes() == header

    def _begin(self, folder: Path, header: bytes) -> None:
        free = shutil.disk_usage(folder).free
        if free < self.nbytes * _SPARE:
            raise SpillError(str(self.path), f"it needs {self.nbytes:,} bytes, and {free:,} are free")
        # What the journal says is about another layout.
        self.path.with_suffix(".journal").unlink(missing_ok=True)
        os.ftruncate(self._fd, 0)
        self._write_at(0, np.frombuffer(header, np.uint8))
        os.ftruncate(self._fd, self.nbytes)

    def _read_journal(self) -> None:
        keys = tuple(self._numbers)
        limit = 4 * _LINE_NBYTES * (len(keys) + 1)  # a longer one is nobody's
        os.lseek(self._journal, 0, os.SEEK_SET)
        text = os.read(self._journal, limit)
        for line in text.splitlines(keepends=True):
            match = _LINE.fullmatch(line)
            if match is not None and int(match[1]) < len(keys):
                self._digests[keys[int(match[1])]] = match[2].decode()
        # Without the lines that later ones replace, and without one that was being written when a process ended.
        lines = [f"{self._numbers[key]} {digest}\n" for key, digest in self._digests.items()]
        os.ftruncate(self._journal, 0)
        os.lseek(self._journal, 0, os.SEEK_SET)
        os.write(self._journal, "".join(lines).encode())


def _lay_out(shapes: Mapping[str, tuple[int, ...]]) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """The header, and the place of each tensor in the file: offset and size in bytes."""
    entries: dict[str, Any] = {}
    end = 0
    for key, shape in shapes.items():
        start, end = end, end + 2 * int(np.prod(shape, dtype=object))
        entries[key] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    header = struct.pack("<Q", len(text)) + text
    places = {key: entry["data_offsets"] for key, entry in entries.items()}
    return header, {key: (len(header) + start, end - start) for key, (start, end) in places.items()}


def _open_own(path: Path) -> int:
    """Opens the file, made if it isn't there, for this process alone; a link in its place isn't followed."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    fd = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o600)
    try:
        _lock_alone(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _lock_alone(fd: int, path: Path) -> None:
    """The lock ends with the file's being closed, also by the end of the process."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(fd, _FAR, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise SpillError(str(path), "another process uses it") from error
