"""One runtime in a process of its own: builds it, makes steps, and tells on stdout what the system counted.

    python -m benchmarks.compare.child SETTING

Started by `benchmarks.compare_runtimes`. Each line that begins with MARK is JSON. What goes wrong ends the process with
Python's own traceback, whose last line is the reason that is shown.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from typing import Any

MARK = "@mark "


def mark(what: str, **facts: Any) -> None:
    """Tells the parent, which takes the time."""
    from benchmarks.compare import counters

    print(MARK + json.dumps({"what": what, **({"memory": counters.memory()} | facts)}), flush=True)


def step(unet: Any, arguments: dict[str, Any], what: str, **facts: Any) -> Any:
    """One forward, told with its seconds, what was read meanwhile, and a digest of the result's bits; the result."""
    import torch

    from benchmarks.compare import counters

    before = counters.reads()
    began = time.perf_counter()
    with torch.no_grad():
        result = unet(**arguments).sample
    if result.is_cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    read = {name: value - before[name] for name, value in counters.reads().items()}
    bits = result.cpu().contiguous().view(torch.uint8).numpy().tobytes()
    digest = hashlib.sha256(bits).hexdigest()
    mark(what, seconds=seconds, read=read, digest=digest, finite=bool(result.isfinite().all()), **facts)
    return result


def difference(result: Any, setting: Any) -> float | None:
    """The largest difference from the reference, by the reference's largest value; None if there is none yet.

    Equality is judged by digests; this only tells rounding from results that are wrong.
    """
    import numpy as np

    found = result.float().cpu().numpy()
    if setting.builder == "resident":
        found.tofile(setting.reference)
    if not setting.reference.is_file():
        return None
    expected = np.fromfile(setting.reference, np.float32).reshape(found.shape)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def main() -> int:
    from benchmarks.compare import counters, page_cache
    from benchmarks.compare.builders import BUILDERS
    from benchmarks.compare.setting import Setting

    setting = Setting.from_json(sys.argv[1])
    unet = BUILDERS[setting.builder](setting)

    import torch  # not before: what a runtime imports is part of its time, and when it does is its own affair

    from benchmarks.compare.inputs import unet_inputs

    config = json.loads((setting.model / "config.json").read_text("utf-8"))
    dtype = getattr(torch, setting.compute)
    arguments = unet_inputs(config, setting.pixels, setting.batch, setting.device, dtype)
    loaded = counters.memory()  # before the peak is forgotten
    mark("ready", memory=loaded, peak_is_anew=counters.forget_peak(), threads=torch.get_num_threads())
    for _ in range(setting.steps):
        result = step(unet, arguments, "step")
    files = page_cache.files_below(setting.weights, setting.scratch)
    device = torch.cuda.max_memory_reserved() if setting.device != "cpu" else None
    mark(
        "stepped", cached=page_cache.cached_nbytes(files), allocator_peak=device, difference=difference(result, setting)
    )
    for _ in range(setting.cold_steps):
        if not page_cache.drop(files):
            break  # this system can't be told to: a warm step is no cold one
        step(unet, arguments, "cold step", cached=page_cache.cached_nbytes(files))
    mark("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
