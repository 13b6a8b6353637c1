"""What a plan has in host memory and on the local disk: what is kept, what is spilled, and how it is read."""

from __future__ import annotations

from pathlib import Path

from streamer.config import StreamSettings
from streamer.plan import Plan
from streamer.runtime.keeping import keep_by
from streamer.sources.base import OnRead, WeightSource
from streamer.sources.closing import close_all
from streamer.tiers.host_cache import HostCache
from streamer.tiers.spill import SpillTier


class HostTiers:
    """The source with the host's tiers over it. Doesn't own the source.

    Args:
        below: of the weights.
        settings: budgets of host memory and page cache, and the folder for spilled weights.
        on_read: told of reads from storage.

    Attributes:
        source: what the engine reads from.
        in_memory: after the first step, all that is read again at each step is in memory, held or in the page cache.
    """

    def __init__(self, below: WeightSource, settings: StreamSettings, on_read: OnRead) -> None:
        self._settings = settings
        self._spill = SpillTier(below, settings.spill_dir) if settings.spill_dir is not None else None
        self._below: WeightSource = self._spill or below
        self._cache = HostCache(self._below, settings.ram_budget_nbytes)
        self.source: WeightSource = self._cache
        self.in_memory = False
        self.source.observe_reads(on_read)

    @property
    def held_nbytes(self) -> int:
        """Bytes of weights kept in host memory now."""
        return self._cache.held_nbytes

    @property
    def spill_path(self) -> Path | None:
        """Of the file that has decoded weights; None without one."""
        return self._spill.path if self._spill is not None else None

    def install(self, plan: Plan) -> None:
        """What is kept and spilled from now on is what suits this plan."""
        keeping = keep_by(plan, self._below, self._settings)
        self._cache.keep(keeping.kept, keeping.dropped)
        self.in_memory = keeping.in_memory
        if self._spill is not None:
            self._spill.choose(keeping.spilled)

    def close(self) -> None:
        """Lets go of what is kept, and of the spill file, which stays."""
        close_all(self._cache.close, *([] if self._spill is None else [self._spill.close]))
