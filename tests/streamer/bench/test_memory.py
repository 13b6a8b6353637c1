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


AGAIN = """
import sys
from streamer.bench.memory import forget_peak, peak_resident_nbytes
data = bytearray(200_000_000)
data[::4096] = b"x" * len(data[::4096])
held = peak_resident_nbytes()
del data
print(int(forget_peak()), held, peak_resident_nbytes())
"""


def test_a_forgotten_peak_is_counted_anew_where_the_system_can():
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True)
    forgotten, held, after = map(int, done.stdout.split())
    assert (held - after > 190_000_000) is bool(forgotten)
