"""Prints speed and memory of reading a whole file: python -m benchmarks.format.io_modes

Every mode runs in its own process: mmap and pread, with the file in the page cache and without, and mmap with
done_with() after each tensor.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import numpy as np

import lzr2
from benchmarks.format import cases
from lzr2.file_source import IoMode
from streamer.bench.memory import peak_resident_nbytes

COPIES = 12


def one(path: Path, io: IoMode, how: str) -> None:
    """Decodes every tensor of the file into one buffer; prints a line."""
    out = np.zeros(cases.OUTPUT_NBYTES // 2, np.float16)
    with lzr2.open(path, io=io, sidecar=False) as file:
        file.decode_into("t0", out)  # compiles
        file.done_with("t0")
    if how == "cold":
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    before = peak_resident_nbytes()
    began = time.perf_counter()
    with lzr2.open(path, io=io, sidecar=False) as file:
        for key in file.keys():
            file.decode_into(key, out)
            if how == "warm, done_with":
                file.done_with(key)
    seconds = time.perf_counter() - began
    grown = (peak_resident_nbytes() - before) >> 20
    print(
        f"{io:6} {how:16} {path.stat().st_size / 1e9 / seconds:6.2f} GB/s of file, peak memory + {grown} MiB",
        flush=True,
    )


def main() -> None:
    if len(sys.argv) > 3:
        one(Path(sys.argv[1]), cast(IoMode, sys.argv[2]), sys.argv[3])
        return
    with tempfile.TemporaryDirectory() as folder:
        path = cases.write(Path(folder) / "a.lzr2", cases.OVERLAY_HEAVY, copies=COPIES)
        for how in ("warm", "warm, done_with", "cold"):
            for io in ("pread", "mmap") * 3:
                subprocess.run([sys.executable, "-m", "benchmarks.format.io_modes", str(path), io, how], check=True)


if __name__ == "__main__":
    main()
