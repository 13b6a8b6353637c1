"""Peak memory by the operating system's count."""

from __future__ import annotations

import subprocess
import sys

CODE = """
from streamer.bench.memory import peak_resident_nbytes
before = peak_resident_nbytes()
data = bytearray(200_000_000)
data[::4096] = b"x" * len(data[::4096])
held = peak_resident_nbytes()
del data
print(before, held, peak_resident_nbytes())
"""


def test_the_peak_rises_with_what_is_used_and_stays():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, held, after = map(int, done.stdout.split())
    assert 5_000_000 < before < 2_000_000_000
    assert 190_000_000 < held - before < 260_000_000
    assert after > held - 4_000_000  # the kernel counts in batches for each core
