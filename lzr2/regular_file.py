"""The operating system's side of an open file: only regular ones, their state, and what its errors mean."""

from __future__ import annotations

import errno
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from lzr2.errors import IoFailedError, MissingFileError, UnreadableFileError

# Two writes closer than this may carry the same modification time.
_CLOCK_TICK_NS = 20_000_000
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


@dataclass(frozen=True, slots=True)
class FileState:
    """What the operating system says of an open file. Rewritten, its time changes; unlinked, it has fewer links."""

    nbytes: int
    mtime_ns: int
    inode: int
    n_links: int


def open_regular(path: Path) -> int:
    """A number of the regular file, open for reading. Raises MissingFileError, UnreadableFileError."""
    # O_NONBLOCK: opening a pipe must not wait for a writer.
    flags = os.O_RDONLY
    for name in ("O_CLOEXEC", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        fd = os.open(path, flags)
    except FileNotFoundError as error:
        raise MissingFileError("there is no such file", path=path) from error
    except ValueError as error:
        raise UnreadableFileError(f"not a path ({error})", path=path) from error
    except OSError as error:
        if path.is_dir():  # Windows refuses to open one
            raise _not_regular(path, "a directory") from error
        raise UnreadableFileError(f"the file can't be opened ({_reason(error)})", path=path) from error
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    raise _not_regular(path, next((name for is_kind, name in _KINDS if is_kind(mode)), "not a regular file"))


def _not_regular(path: Path, kind: str) -> UnreadableFileError:
    return UnreadableFileError(
        "not a file that can be read", path=path, found=kind, expected="a regular file", advice="Check the path."
    )


def state_of(fd: int) -> FileState:
    """What the system says now. Raises OSError."""
    s = os.fstat(fd)
    return FileState(s.st_size, s.st_mtime_ns, s.st_ino, s.st_nlink)


def outlast_clock_tick(state: FileState) -> None:
    """Returns when a later write will carry another time than this state has."""
    age = time.time_ns() - state.mtime_ns
    if 0 <= age < _CLOCK_TICK_NS:
        time.sleep((_CLOCK_TICK_NS - age) / 1e9)


def read_failed(path: Path, error: OSError, offset: int | None = None) -> IoFailedError:
    """The error for a read that the system refused."""
    return IoFailedError(f"reading failed ({_reason(error)})", path=path, offset=offset)


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a loop of symbolic links"
    return error.strerror or str(error)
