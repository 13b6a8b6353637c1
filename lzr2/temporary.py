"""Files that appear whole: written under a name of their own beside their place, synced, then renamed to it."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from lzr2.errors import IoFailedError

# Of the whole process, as its end is: whoever ends it the hard way must know what to remove. Texts only, because adding
# one, removing one and copying all are single steps then: a lock might be held by the very thread that hangs.
_unfinished: set[str] = set()


class Draft:
    """The new content of a file: at its path whole and synced after `put_in_place`, else nowhere.

    A context manager; at its end, what isn't in place is removed. A symbolic link at the path is followed: its target
    gets the content. Not to be shared between threads.

    Args:
        path: where the content goes.
        buffering: bytes, as of `open`.

    Raises:
        IoFailedError: what is at the path is no regular file, so nothing can be put in its place.
        OSError: of the system.
    """

    def __init__(self, path: Path, buffering: int = -1) -> None:
        require_replaceable(path)
        self.target = Path(os.path.realpath(path)) if path.is_symlink() else path
        fd, self._temporary = create_beside(self.target, _unfinished)
        self._in_place = False
        self.file: BinaryIO = os.fdopen(fd, "wb", buffering=buffering)

    def finish(self) -> None:
        """All that was written is on the disk, and nothing more can be. Raises OSError."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def put_in_place(self) -> None:
        """The content is at the path, for good. Finishes it first where that wasn't done. Raises OSError."""
        if not self.file.closed:
            self.finish()
        self._temporary.replace(self.target)
        self._in_place = True
        _unfinished.discard(str(self._temporary))
        sync_folder(self.target.parent)

    def discard(self) -> None:
        """Removes what isn't in place; never raises OSError."""
        with contextlib.suppress(OSError):
            self.file.close()
        if not self._in_place:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
            _unfinished.discard(str(self._temporary))

    def __enter__(self) -> Draft:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def create_beside(path: Path, listed: set[str] | None = None) -> tuple[int, Path]:
    """A new empty file in the folder of `path`: its descriptor, open for writing, and its path. Raises OSError.

    It follows the umask, which a file of the tempfile module doesn't: that one is for its owner only.

    Args:
        path: beside which it is made.
        listed: gets the new file's path before the file is there, so that at no moment an unknown one is.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    listed = set() if listed is None else listed
    while True:
        temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(8)}.tmp")
        listed.add(str(temporary))
        try:
            return os.open(temporary, flags, 0o666), temporary
        except OSError as error:
            listed.discard(str(temporary))  # there is none, or it is somebody else's
            if not isinstance(error, FileExistsError):
                raise


def remove_unfinished() -> None:
    """No draft of this process is left on the disk. For the process's end: whoever still writes one gets an error."""
    for name in list(_unfinished):
        with contextlib.suppress(OSError):
            Path(name).unlink()


def sync_folder(folder: Path) -> None:
    """What was renamed or removed in the folder stays so, as far as the system can promise that."""
    with contextlib.suppress(OSError):  # Windows can't, and the file is in place
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def require_replaceable(path: Path) -> None:
    """Returns only if a file can take the place of what is at the path, links followed: a regular file, or nothing.

    Raises:
        IoFailedError: there is a directory, a pipe, a device or a socket.
        OSError: of the system; a loop of symbolic links is one.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:  # also of a link to what isn't there yet
        mode = stat.S_IFREG
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else than a file")
        raise IoFailedError(
            f"there is {kind}, which a file can't replace", path=path, advice="Name a file, or a path that is free."
        )


_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
