"""One exception class per kind of fault; every one says where it is, what was found and what to do."""

from __future__ import annotations

import os
from typing import Any

_MAX_SHOWN = 200


def printable(text: str) -> str:
    """Never emits a control character or a lone surrogate: a key from a file is a stranger's text."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:_MAX_SHOWN])
    return shown if len(text) <= _MAX_SHOWN else f"{shown}… ({len(text)} characters)"


class Lzr2Error(Exception):
    """Base of everything this package raises about a file, a tensor or a request.

    Attributes: `what` (the fault in words), `path`, `key` (of the record), `offset` (in bytes from the
    start of the file), `found`, `expected`, `advice` (what to do next). Unknown ones are None.
    """

    default_advice: str | None = None

    def __init__(
        self,
        what: str,
        *,
        path: str | os.PathLike[str] | None = None,
        key: str | None = None,
        offset: int | None = None,
        found: object = None,
        expected: object = None,
        advice: str | None = None,
    ) -> None:
        self.what = what
        self.path = None if path is None else os.fspath(path)
        self.key = key
        self.offset = offset
        self.found = found
        self.expected = expected
        self.advice = self.default_advice if advice is None else advice
        super().__init__(self._message())

    def _message(self) -> str:
        where = []
        if self.path is not None:
            where.append(printable(self.path))
        if self.key is not None:
            where.append(f"record '{printable(self.key)}'")
        if self.offset is not None:
            where.append(f"byte {self.offset}")
        text = f"{', '.join(where)}: {self.what}" if where else self.what
        if self.found is not None:
            text += f": found {printable(str(self.found))}"
        if self.expected is not None:
            text += f"{',' if self.found is not None else ':'} expected {printable(str(self.expected))}"
        return f"{text}. {self.advice}" if self.advice else text

    def __str__(self) -> str:
        return self._message()

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process boundaries; keyword arguments do not survive the default.
        fields = ("path", "key", "offset", "found", "expected", "advice")
        return _rebuild, (type(self), self.what, {name: getattr(self, name) for name in fields})


def _rebuild(kind: type[Lzr2Error], what: str, fields: dict[str, Any]) -> Lzr2Error:
    return kind(what, **fields)


# The file as a whole


class MissingFileError(Lzr2Error, FileNotFoundError):
    """There is no such file."""

    default_advice = "Check the path."


class UnreadableFileError(Lzr2Error, OSError):
    """The path is there but isn't a regular file that can be read (directory, pipe, device, permissions)."""


class IoFailedError(Lzr2Error, OSError):
    """The operating system reported an error while reading or writing."""

    default_advice = "Check the disk or the network mount, then try again."


class NotLzr2Error(Lzr2Error):
    """The file doesn't start with the LZR2 signature; the message says what it looks like instead."""


class StaleFileError(Lzr2Error):
    """The file was replaced, truncated or rewritten after it was opened or indexed."""

    default_advice = "Open the file again."


class ClosedError(Lzr2Error, ValueError):
    """The file has been closed."""


class ChecksumError(Lzr2Error):
    """A record's bytes don't match the checksum that the index carries."""

    default_advice = "The file is damaged: get a fresh copy of it."


# One record


class MalformedRecordError(Lzr2Error):
    """A record breaks a rule of the format; subclasses say which."""

    default_advice = "The file is damaged or was written by a faulty program: get it again from its source."


class TruncatedError(MalformedRecordError):
    """The file ends inside a record."""

    default_advice = "The file is incomplete: download or copy it again."


class KeyFieldError(MalformedRecordError):
    """A record's key is too long or isn't UTF-8."""


class ShapeError(MalformedRecordError):
    """A record's dimensions are too many, too large, or absent where there is a payload."""


class BlockLengthError(MalformedRecordError):
    """A record's block length `d` is outside 1 to 32."""


class StreamError(MalformedRecordError):
    """A record's zlib stream is damaged, cut, of another kind, or followed by other bytes."""


class StreamSizeError(MalformedRecordError):
    """A record's zlib stream inflates to more than its shape allows, or to no whole number of blocks."""


class IndexValueError(MalformedRecordError):
    """An index isn't below 3^d, so no block of digits belongs to it."""


class EntrySizeError(MalformedRecordError):
    """The overlay's entries have another size than the index took them to have."""

    default_advice = "Build the index again with Index.build(path, exact=True)."


class TooManyRecordsError(MalformedRecordError):
    """The file holds more records than a reader must accept."""


# What was asked for


class UnknownKeyError(Lzr2Error, KeyError):
    """The file has no record of that name."""


class NoPayloadError(UnknownKeyError):
    """The record of that name carries no weights: the base model's tensor stays."""


class RowRangeError(Lzr2Error, ValueError):
    """The row range isn't within the tensor."""


class OutputArrayError(Lzr2Error, ValueError):
    """The caller's buffer has the wrong type, size or memory order."""


# Writing


class EncodeError(Lzr2Error, ValueError):
    """The tensor or the setting can't be encoded."""


class InvalidTensorError(EncodeError):
    """The sections of an EncodedTensor don't fit each other or the format."""
