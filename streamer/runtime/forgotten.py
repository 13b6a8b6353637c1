"""What becomes of a streamed module that nobody closed: it goes, and its threads and files go too."""

from __future__ import annotations

import threading

from streamer.runtime.engine import Engine
from streamer.runtime.freed_memory import give_back
from streamer.sources.base import WeightSource
from streamer.sources.closing import close_all


def let_go(engine: Engine, source: WeightSource) -> None:
    """Engine and source are closed, or will be soon. For the garbage collector: any thread, whatever it is doing.

    Args:
        engine: of a module that isn't there any more.
        source: that it reads from.
    """

    def close() -> None:
        close_all(engine.close, source.close, give_back)

    if engine.threads.am_one:
        # It may hold any lock of the engine, the source and the tiers, and it is to be waited for.
        threading.Thread(target=close, name="streamer-let-go").start()
    else:
        close()
