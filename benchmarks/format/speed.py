"""Prints GB/s of float16 and the ratio to plain numpy, all in one run: python -m benchmarks.format.speed [ROUNDS]

Decoded weights are compared with plain numpy's first. The cases take turns and the fastest round of each counts, so
that a busy machine disturbs all of them alike.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

import lzr2
from benchmarks.format import cases
from streamer.bench import plain_decode

Case = tuple[Callable[[], object], int]
GB = 1e9


@contextmanager
def all_cases(folder: Path) -> Iterator[dict[str, Case]]:
    """What is timed, and the bytes of float16 that it makes."""
    n = cases.OUTPUT_NBYTES
    out, other = np.empty(n // 2, np.float16), np.empty(n // 2, np.float16)
    out32 = np.empty(n // 2, np.float32)
    timed: dict[str, Case] = {"plain copy of the output": (lambda: np.copyto(out, other), n)}
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2))
        for name, fraction, d in (
            ("lattice-heavy", cases.LATTICE_HEAVY, 8),
            ("lattice-heavy d=10", cases.LATTICE_HEAVY, 10),
            ("overlay-heavy", cases.OVERLAY_HEAVY, 8),
        ):
            path = cases.write(folder / f"{name}.lzr2", fraction, d)
            data = memoryview(path.read_bytes())
            file = stack.enter_context(lzr2.open(path, sidecar=False))
            mapped = stack.enter_context(lzr2.open(path, io="mmap", sidecar=False))
            record, inflated = file.record("t0"), file.read_inflated("t0")

            def both(file: lzr2.Lzr2File = file) -> None:
                jobs = [pool.submit(file.decode_into, "t0", out), pool.submit(file.decode_into, "t1", other)]
                [job.result() for job in jobs]

            def one(file: lzr2.Lzr2File, target: np.ndarray, threads: int) -> Callable[[], None]:
                return lambda: file.decode_into("t0", target, threads=threads)

            def plain(data: memoryview, record: lzr2.RecordInfo) -> Callable[[], object]:
                return lambda: plain_decode.decode(data, record)

            def verified(path: Path) -> Callable[[], object]:
                return lambda: lzr2.verify(path)

            def warm(inflated: lzr2.InflatedTensor, threads: int) -> Callable[[], None]:
                return lambda: lzr2.decode_inflated_into(inflated, out, threads=threads)

            wanted = plain_decode.decode(data, record).reshape(-1)
            for run, got in (
                (one(file, out, 1), out),
                (one(file, out, 2), out),
                (one(mapped, out, 1), out),
                (one(file, out32, 1), out32),
                (warm(inflated, 1), out),
                (warm(inflated, 2), out),
            ):
                got.fill(np.nan)
                run()
                if not np.array_equal(got, wanted.astype(got.dtype)):
                    sys.exit(f"{name}: not what plain numpy makes of it")

            timed |= {
                f"{name}: plain numpy": (plain(data, record), n),
                f"{name}: one thread": (one(file, out, 1), n),
                f"{name}: two threads, one tensor": (one(file, out, 2), n),
                f"{name}: two threads, two tensors": (both, 2 * n),
                f"{name}: one thread, mmap": (one(mapped, out, 1), n),
                f"{name}: one thread, to float32": (one(file, out32, 1), n),
                f"{name}: inflated, one thread": (warm(inflated, 1), n),
                f"{name}: inflated, two threads": (warm(inflated, 2), n),
                f"{name}: verify (2 tensors)": (verified(path), 2 * n),
            }
        target = folder / "encoded.lzr2"
        trained, ternary = cases.trained_like(), cases.nearly_ternary()
        timed["encode losslessly, trained-like"] = (lambda: lzr2.save_file({"t": trained}, target), n)
        for share in (0.01, 0.1):

            def lossy(share: float = share) -> None:
                lzr2.save_file({"t": trained}, target, overlay_fraction=share)

            timed[f"encode with {share:.0%} overlay, trained-like"] = (lossy, n)
        timed["encode losslessly, nearly ternary"] = (lambda: lzr2.save_file({"t": ternary}, target), n)
        yield timed


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    load = f"; load before: {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    with tempfile.TemporaryDirectory() as folder, all_cases(Path(folder)) as timed:
        best = dict.fromkeys(timed, np.inf)
        for round_ in range(rounds + 1):
            for name, (run, _) in timed.items():
                if "numpy" in name and round_ > 3:
                    continue
                began = time.perf_counter()
                run()
                if round_:
                    best[name] = min(best[name], time.perf_counter() - began)
        speeds = {name: nbytes / best[name] / GB for name, (_, nbytes) in timed.items()}
    print(f"{os.cpu_count()} cores, {rounds} rounds, fastest of each{load}")
    for name, speed in speeds.items():
        reference = speeds.get(f"{name.split(':')[0]}: plain numpy")
        ratio = f"{speed / reference:7.1f} x numpy" if reference else ""
        print(f"{name:45} {speed:7.2f} GB/s {ratio}")


if __name__ == "__main__":
    main()
