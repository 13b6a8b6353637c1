"""The most memory of a process in each stage of a picture, as the system counts it. Linux.

    python -m benchmarks.stage_memory "a lighthouse" --model pipe/ --weights lattice.lzr2 --vram-budget 2GB --steps 1

Takes what ``streamer gen`` takes, and draws. Beside it a thread reads /proc/self/status 20 times a second; a stage is
what runs from one part's forward to another part's. The weights and the pipeline of that command are made by
tools/make_synthetic_sdxl.py and tools/make_synthetic_pipeline.py.
"""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import Any

from streamer.cli.app import main as command_line
from streamer.processors import wait_without_spinning

_PERIOD = 0.05
_PARTS = (
    ("text encoders", "transformers", "CLIPTextModel", "forward"),
    ("text encoders", "transformers", "CLIPTextModelWithProjection", "forward"),
    ("U-Net", "diffusers", "UNet2DConditionModel", "forward"),
    ("VAE", "diffusers", "AutoencoderKL", "decode"),
)
_COUNTS = ("RssAnon", "RssFile")


class StageMemory:
    """Most bytes, anonymous and of files, since each stage began. One stage at a time; ended by `close`."""

    def __init__(self) -> None:
        self.stage = "before"
        self.most: dict[str, tuple[int, int]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nothing is counted any more."""
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(_PERIOD):
            stage, seen = self.stage, resident_nbytes()
            self.most[stage] = max(self.most.get(stage, seen), seen, key=sum)


def resident_nbytes() -> tuple[int, int]:
    """Of this process now: anonymous memory, and pages of files."""
    status = Path("/proc/self/status").read_text("ascii", "replace")
    found = [re.search(rf"{name}:\s*(\d+) kB", status) for name in _COUNTS]
    anonymous, of_files = (int(one[1]) * 1024 if one else 0 for one in found)
    return anonymous, of_files


def _tell(memory: StageMemory, stage: str, kind: Any, method: str) -> None:
    whole = getattr(kind, method)

    def told(self: Any, *args: Any, **kwargs: Any) -> Any:
        if next(self.parameters()).device.type != "meta":  # else it is a copy without memory
            memory.stage = stage
        return whole(self, *args, **kwargs)

    setattr(kind, method, told)


def main() -> int:
    if not sys.platform.startswith("linux"):
        print("Only Linux tells a process's anonymous memory.", file=sys.stderr)
        return 2
    wait_without_spinning()
    memory, ended = StageMemory(), 0
    for stage, library, kind, method in _PARTS:
        _tell(memory, stage, getattr(__import__(library), kind), method)
    memory.most.clear()
    sys.argv = ["streamer", "gen", *sys.argv[1:]]
    try:
        command_line()
    except SystemExit as error:
        ended = error.code if isinstance(error.code, int) else int(error.code is not None)
    memory.close()
    for stage, (anonymous, of_files) in memory.most.items():
        print(f"{stage:15} {anonymous / 1e9:5.2f} GB, and {of_files / 1e9:4.2f} GB of files' pages")
    return ended


if __name__ == "__main__":
    sys.exit(main())
