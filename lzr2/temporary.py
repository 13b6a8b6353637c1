"""A file under a name of its own beside the one it will replace, with the rights that any new file has."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def create_beside(path: Path) -> tuple[int, Path]:
    """A new empty file in the folder of `path`: its descriptor, open for writing, and its path. Raises OSError.

    It follows the umask, which a file of the tempfile module doesn't: that one is for its owner only.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    while True:
        temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(8)}.tmp")
        try:
            return os.open(temporary, flags, 0o666), temporary
        except FileExistsError:
            continue
