"""``--prompts-file FILE``: one line, one picture."""

from __future__ import annotations

import sys
from pathlib import Path

from streamer.errors import SettingError
from streamer.models.user_path import user_path

_LARGEST_NBYTES = 64 << 20
_COMMENT = "#"


def read_prompts(where: str) -> list[str]:
    """The prompts in the file, in its order; blank lines and those that begin with # are left out.

    Args:
        where: a path, or ``-`` for the standard input. UTF-8.

    Raises:
        SettingError: it can't be read, is no text, or has no prompt.
    """
    content = _standard_input() if where == "-" else _file(user_path(where))
    if len(content) > _LARGEST_NBYTES:
        raise SettingError(f"{where}: a file of prompts of more than {_LARGEST_NBYTES >> 20} MiB is surely none.")
    prompts = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise SettingError(f"{where}: line {number} isn't text in UTF-8.", "Save the file as UTF-8.") from error
        if "\0" in text:
            raise SettingError(f"{where}: line {number} isn't text.", "Give a text file with a prompt in each line.")
        if text and not text.startswith(_COMMENT):
            prompts.append(text)
    if not prompts:
        raise SettingError(f"{where}: there is no prompt in it.", "Write one in each line.")
    return prompts


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_NBYTES + 1)
    except FileNotFoundError as error:
        raise SettingError(f"{path}: there is no such file.", "Check the path given to --prompts-file.") from error
    except (OSError, ValueError) as error:
        raise SettingError(f"{path} can't be read ({error}).") from error


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise SettingError("There is no standard input to read prompts from.", "Give a file to --prompts-file.")
    raw = getattr(sys.stdin, "buffer", None)
    return raw.read(_LARGEST_NBYTES + 1) if raw is not None else sys.stdin.read().encode("utf-8", "surrogateescape")
