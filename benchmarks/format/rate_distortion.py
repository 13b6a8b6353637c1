"""Bytes a weight against signal-to-noise, on real weights.

python -m benchmarks.format.rate_distortion DOWNLOADS [PLOT.svg]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import lzr2
from benchmarks.format import real_weights
from benchmarks.format.real_weights import Tensors
from streamer.convert.sized import fit_to_size

FRACTIONS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
Point = tuple[str, float, float]


def lzr2_point(tensors: Tensors, fraction: float, path: Path) -> tuple[float, float]:
    lzr2.save_file(tensors, path, overlay_fraction=fraction)
    with lzr2.open(path, sidecar=False) as file:
        return path.stat().st_size, noise(tensors, file.get_tensor)


def sized_point(tensors: Tensors, nbytes: int, path: Path) -> tuple[float, float]:
    """As `streamer encode --size`: the overlay goes where it helps most, over all tensors."""
    halves = {key: tensor.astype(np.float16) for key, tensor in tensors.items()}
    shapes = {key: tensor.shape for key, tensor in tensors.items()}

    def unheard(key: str) -> None:
        pass

    fit = fit_to_size(halves, shapes, nbytes, jobs=1, on_sampled=unheard, on_measured=unheard)
    with lzr2.Writer(path) as writer:
        for key, tensor in halves.items():
            writer.add(key, fit(key, tensor))
    with lzr2.open(path, sidecar=False) as file:
        return path.stat().st_size, noise(tensors, file.get_tensor)


def noise(tensors: Tensors, decode: Callable[[str], np.ndarray]) -> float:
    return sum(float(np.sum(np.square(decode(k).astype(np.float64) - t))) for k, t in tensors.items())


def integers(tensor: np.ndarray, bits: int, group: int) -> tuple[float, np.ndarray]:
    """Symmetric integers with one float16 scale a group: the usual simple quantisation, as bytes and values."""
    flat = tensor.astype(np.float32).reshape(-1)
    padded = np.pad(flat, (0, -flat.size % group)).reshape(-1, group)
    top = 2 ** (bits - 1) - 1
    scale = (np.abs(padded).max(1, keepdims=True) / top).astype(np.float16).astype(np.float32)
    scale[scale == 0] = 1
    values = np.clip(np.rint(padded / scale), -top - 1, top) * scale
    return flat.size * bits / 8 + 2 * len(padded), values.reshape(-1)[: flat.size].reshape(tensor.shape)


def points(tensors: Tensors, scratch: Path) -> list[Point]:
    n = sum(t.size for t in tensors.values())
    signal = sum(float(np.sum(np.square(t, dtype=np.float64))) for t in tensors.values())

    def point(name: str, nbytes: float, error: float) -> Point:
        return name, nbytes / n, float(10 * np.log10(signal / error)) if error else float("inf")

    found = []
    for fraction in FRACTIONS:
        size, error = lzr2_point(tensors, fraction, scratch)
        found.append(point(f"LZR2, overlay {fraction:.0%}", size, error))
        if 0 < fraction < 1:
            found.append(point("LZR2, this size", *sized_point(tensors, int(size), scratch)))
    lzr2.save_file(tensors, scratch)
    with lzr2.open(scratch, sidecar=False) as file:
        found.append(point("LZR2, lossless", scratch.stat().st_size, noise(tensors, file.get_tensor)))
    for name, bits, group in (("4-bit, groups of 32", 4, 32), ("int8, groups of 128", 8, 128)):
        coded = {k: integers(t, bits, group) for k, t in tensors.items()}
        error = noise(tensors, {key: values for key, (_, values) in coded.items()}.__getitem__)
        found.append(point(name, sum(nbytes for nbytes, _ in coded.values()), error))
    half = noise(tensors, lambda k: tensors[k].astype(np.float16))
    found.append(point("float16", 2 * n, half))
    return found


def main() -> None:
    downloads = Path(sys.argv[1])
    results = {}
    for name, tensors in real_weights.load(downloads).items():
        n = sum(t.size for t in tensors.values())
        results[name] = points(tensors, downloads / "scratch.lzr2")
        print(f"\n{name}: {len(tensors)} tensors, {n / 1e6:.1f} M weights\n")
        print("| | bytes a weight | SNR, dB |\n|---|---|---|")
        for label, size, snr in results[name]:
            print(f"| {label} | {size:.3f} | {snr:.1f} |")
    if len(sys.argv) > 2:
        plot(results, Path(sys.argv[2]))


def plot(results: dict[str, list[Point]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(11, 4.2), sharey=True)
    for axis, (name, found) in zip(axes, results.items(), strict=True):
        for start, label in (("LZR2, overlay", "LZR2, the same share of every tensor"), ("LZR2, this", "LZR2, a size")):
            curve = [p for p in found if p[0].startswith(start)]
            axis.plot([p[1] for p in curve], [p[2] for p in curve], "o-", label=label)
        for label, size, snr in found:
            if not label.startswith("LZR2"):
                axis.plot(size, snr, "s", label=label)
        axis.set(title=name, xlabel="bytes a weight", xscale="log")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("signal to noise, dB")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
