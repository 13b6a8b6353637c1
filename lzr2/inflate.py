"""The one bounded inflate that everything calls: never more than asked, never less than a whole stream."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from lzr2.errors import StreamError, StreamSizeError

OUTPUT_NBYTES = 1 << 20  # large enough that threads seldom hand the interpreter lock over


def _fastest() -> Any:
    """zlib-ng if it is there (1.4 times as fast on ternary indices, docs/decisions/lzr2-zlib.md)."""
    try:
        return importlib.import_module("zlib_ng.zlib_ng")
    except ImportError:
        return zlib


_backend: Any = _fastest()


def backend_name() -> str:
    """Which library inflates."""
    return str(_backend.__name__)


def inflate(
    pieces: Iterable[Any],
    limit: int,
    *,
    path: str | None = None,
    key: str | None = None,
    offset: int | None = None,
) -> Iterator[bytes]:
    """Yields a zlib stream's content in pieces of at most OUTPUT_NBYTES, at most `limit` bytes in all.

    pieces: the stream as bytes-like objects. path, key, offset: where it lies, for the error.
    Raises StreamError if the stream is damaged, not zlib (gzip, raw deflate), cut anywhere, its checksum
    included, or followed by other bytes; StreamSizeError as soon as it yields more than `limit`.
    Memory: the pieces in hand. Thread-safe: no shared state.
    """
    stream = _backend.decompressobj()
    where: dict[str, Any] = {"path": path, "key": key, "offset": offset}
    total = 0
    for piece in pieces:
        if stream.eof and len(piece):
            raise StreamError("bytes after the end of the zlib stream", **where, expected="none")
        rest: Any = piece
        while len(rest) and not stream.eof:
            try:
                # One byte more than allowed: without it a stream that is too long looks like one that fits.
                out = stream.decompress(rest, min(OUTPUT_NBYTES, limit + 1 - total))
            except (zlib.error, _backend.error) as error:
                raise StreamError(f"the zlib stream is damaged or of another kind ({error})", **where) from error
            rest = stream.unconsumed_tail
            total += len(out)
            if total > limit:
                found = f"more than {limit} bytes"
                raise StreamSizeError("the zlib stream is too long", **where, found=found, expected=f"at most {limit}")
            if out:
                yield out
    # Output that the last call had no room for is followed by the checksum: a whole stream has ended by now.
    if not stream.eof:
        raise StreamError("the zlib stream is cut short", **where, found=f"{total} bytes and no end")
    if stream.unused_data:
        found = f"{len(stream.unused_data)} more bytes in the section"
        raise StreamError("bytes after the end of the zlib stream", **where, found=found, expected="none")


def inflated_nbytes(pieces: Iterable[Any], limit: int, **where: Any) -> int:
    """How many bytes the stream holds, without keeping them. Raises as `inflate`."""
    return sum(len(out) for out in inflate(pieces, limit, **where))
