"""``--trace FILE``: what happened when, written when drawing ends, and also when it ends badly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.errors import SettingError

if TYPE_CHECKING:
    from streamer.runtime.attach import StreamHandle

_KINDS = (".json", ".png")


def check_trace_path(path: Path) -> None:
    """Raises SettingError unless a trace can be written there."""
    if path.suffix.lower() not in _KINDS:
        raise SettingError(
            f"A trace can't be written to {path.name}: its kind isn't known.",
            "Use a name that ends in .json (for Chrome or ui.perfetto.dev) or .png (a picture of one step).",
        )
    if path.is_dir() or not path.parent.is_dir():
        raise SettingError(f"A trace can't be written to {path}: that isn't a file in an existing folder.")


@contextmanager
def traced(handle: StreamHandle, path: Path | None) -> Iterator[None]:
    """Records while the block runs, then writes the file; without a path it does nothing."""
    if path is None:
        yield
        return
    from streamer.bench.chrome_trace import chrome_trace
    from streamer.bench.timeline import busiest_step, draw_timeline

    recorder = handle.record()
    try:
        yield
    finally:
        spans = recorder.spans
        if path.suffix.lower() == ".json":
            path.write_text(chrome_trace(spans), "utf-8")
        else:
            draw_timeline(spans, busiest_step(spans)).save(path)
