"""What was drawn from a file of prompts, a line for each picture, so that a run that was ended can go on."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE_NAME = "manifest.jsonl"


@dataclass(frozen=True)
class Entry:
    """A picture that is there.

    Attributes:
        prompt: that it was drawn from.
        seed: of its noise.
        settings: digest of all else that determines it.
        path: its file's name, beside the manifest.
    """

    prompt: str
    seed: int
    settings: str
    path: str


def digest(settings: Mapping[str, Any]) -> str:
    """A short text that is another for other settings."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Manifest:
    """The entries of a folder. Whatever ends the process, all lines written before can be read.

    Args:
        folder: of the pictures.
        warn: told of lines that can't be read.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.path = folder / FILE_NAME
        self._left: dict[tuple[str, str], list[Entry]] = {}
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            content = b""
        lines = [line for line in content.split(b"\n") if line.strip()]
        entries = [entry for line in lines if (entry := _read(line)) is not None]
        if len(entries) < len(lines):
            warn(f"{self.path}: {len(lines) - len(entries)} lines can't be read and are passed over.")
        for entry in entries:
            if (folder / entry.path).is_file():
                self._left.setdefault((entry.prompt, entry.settings), []).append(entry)

    def take(self, prompt: str, seed: int | None, settings: str) -> Entry | None:
        """A picture that is there and wasn't taken before; None: it has to be drawn.

        Args:
            prompt: that it was drawn from.
            seed: of its noise; None: any.
            settings: their digest.
        """
        left = self._left.get((prompt, settings), [])
        for number, entry in enumerate(left):
            if seed is None or entry.seed == seed:
                return left.pop(number)
        return None

    def add(self, entry: Entry) -> None:
        """The entry is on the disk: whole, or not at all. After its picture."""
        line = json.dumps(asdict(entry), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":  # a line that was broken off ends here, and isn't read
                    line = b"\n" + line
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(file.fileno())


def _read(line: bytes) -> Entry | None:
    try:
        found = json.loads(line)
        entry = Entry(**{name: found[name] for name in ("prompt", "seed", "settings", "path")})
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    texts = (entry.prompt, entry.settings, entry.path)
    if not all(isinstance(text, str) for text in texts) or type(entry.seed) is not int:
        return None
    plain = entry.path == Path(entry.path).name and entry.path not in ("", ".", "..") and "\0" not in entry.path
    return entry if plain else None
