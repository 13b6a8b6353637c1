"""Whether a record's header in the file says what an index says of it: three short reads."""

from __future__ import annotations

import struct

from lzr2 import layout
from lzr2.byte_source import ByteSource
from lzr2.record import RecordInfo

_FLAG_AND_D = struct.Struct("<BI")


def describes(source: ByteSource, info: RecordInfo) -> bool:
    """Whether key, shape, flag, block length and both lengths are in the file where `info` has them.

    `info` must lie within the file, its own numbers consistent with each other. The size of an overlay entry isn't in
    the file: that it is right shows in what follows the record. Raises as `ByteSource.read`.
    """
    key = info.key.encode("utf-8")
    head = struct.pack(f"<I{len(key)}sI{len(info.shape)}I", len(key), key, len(info.shape), *info.shape)
    if not info.has_payload:
        found = source.read(info.start, len(head) + 1)
        return found[:-1] == head and found[-1] != layout.HAS_PAYLOAD
    return source.has(
        (info.start, head + _FLAG_AND_D.pack(layout.HAS_PAYLOAD, info.d)),
        (info.indices_start - 4, layout.U32.pack(info.z_nbytes)),
        (info.overlay_start - 4, layout.U32.pack(info.overlay_count)),
    )
