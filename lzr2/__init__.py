"""LZR2 weight files: read, write, check. Numbers and bytes only: numpy and numba, no torch."""

from lzr2.decode import InflatedTensor, decode_inflated_into
from lzr2.errors import Lzr2Error
from lzr2.index import Index
from lzr2.reader import Lzr2File, load_file
from lzr2.reader import open_file as open
from lzr2.record import EncodedTensor, RecordInfo

__all__ = [
    "EncodedTensor",
    "Index",
    "InflatedTensor",
    "Lzr2Error",
    "Lzr2File",
    "RecordInfo",
    "decode_inflated_into",
    "load_file",
    "open",
]
