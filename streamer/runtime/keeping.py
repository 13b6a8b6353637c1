"""Which tensors are kept in host memory between steps, and which leave the system's page cache once read."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.config import StreamSettings
from streamer.plan import Plan
from streamer.plan.residency import keep_order
from streamer.sources.base import TensorInfo, WeightSource
from streamer.tiers.host_cache import choose, choose_smaller, is_much_larger_in_file, is_small_in_memory
from streamer.tiers.page_cache import keys_to_drop
from streamer.tiers.spill import is_spillable


@dataclass(frozen=True)
class Keeping:
    """What becomes of a tensor's bytes once they were read.

    Attributes:
        kept: keys that stay in host memory.
        dropped: keys whose bytes leave the system's page cache once read; none where all of the file fits.
        spilled: keys that are read again at each step and aren't kept: a local file may have them decoded.
        again: keys that are read again at each step, from the file or what was spilled of it.
    """

    kept: frozenset[str]
    dropped: frozenset[str]
    spilled: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()

    @property
    def in_memory(self) -> bool:
        """Whether, after the first step, all that is read again at each step is in the page cache."""
        return not self.again & self.dropped


def may_keep(info: TensorInfo, settings: StreamSettings) -> bool:
    """Whether there are plans by which such a tensor is kept in host memory.

    Args:
        info: of the tensor.
        settings: budgets of host memory.
    """
    if not settings.hold_only_smaller:
        return settings.ram_budget_nbytes >= info.held_nbytes
    room = settings.ram_budget_nbytes if is_much_larger_in_file(info) else settings.packed_ram_nbytes
    return room >= info.held_nbytes and (is_much_larger_in_file(info) or is_small_in_memory(info))


def keep_by(plan: Plan, source: WeightSource, settings: StreamSettings) -> Keeping:
    """The fixed sets for this plan, within the settings' budgets.

    What is read once, because it is kept in host memory or stays on the device, takes no page cache from the rest: why,
    docs/decisions/tiers-page-cache-of-what-is-kept.md.

    Args:
        plan: whose streamed blocks are read again at each step.
        source: of the tensors.
        settings: budgets of host memory and page cache.
    """
    ordered = [i for i in keep_order(plan.blocks, plan.order) if i not in plan.resident | plan.kept]
    groups = [[place.key for place in plan.blocks[i].tensors] for i in ordered]
    if settings.hold_only_smaller:
        kept = choose_smaller(source, groups, settings.ram_budget_nbytes, settings.packed_ram_nbytes)
    else:
        kept = choose(source, groups, settings.ram_budget_nbytes)
    infos = {key: source.info(key) for key in source.keys()}
    again_groups = [[key for key in keys if key not in kept] for keys in groups]
    again = frozenset(key for keys in again_groups for key in keys)
    spilled = frozenset(key for key in again if settings.spill_dir is not None and is_spillable(infos[key]))
    stored = {key: 2 * info.weights if key in spilled else info.stored_nbytes for key, info in infos.items()}
    return Keeping(kept, keys_to_drop(stored, again_groups, settings.page_cache_nbytes), spilled, again)
