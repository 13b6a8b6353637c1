"""LZR2 weight files: read, write, check. Numbers and bytes only: numpy and numba, no torch."""

from lzr2.decode import decode_inflated_into
from lzr2.encode import encode
from lzr2.errors import Lzr2Error
from lzr2.index import Index
from lzr2.inflated_tensor import InflatedTensor
from lzr2.reader import Lzr2File, load_file
from lzr2.reader import open_file as open
from lzr2.record import EncodedTensor, RecordInfo
from lzr2.verify import Report, verify
from lzr2.widen import widen
from lzr2.writer import Writer, save_file, write_records

__all__ = [
    "EncodedTensor",
    "Index",
    "InflatedTensor",
    "Lzr2Error",
    "Lzr2File",
    "RecordInfo",
    "Report",
    "Writer",
    "decode_inflated_into",
    "encode",
    "load_file",
    "open",
    "save_file",
    "verify",
    "widen",
    "write_records",
]
