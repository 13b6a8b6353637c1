"""Engine, hooks and guards of one streamed module: made together, and taken away together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from streamer.config import StreamSettings
from streamer.plan import Block, lay_out, make_plan
from streamer.runtime.bind import Binder, ModuleBlock
from streamer.runtime.engine import Engine
from streamer.runtime.guards import Guards
from streamer.runtime.hooks import StreamHooks
from streamer.runtime.share import OnForward
from streamer.sources.base import WeightSource


@dataclass(frozen=True, eq=False)
class Streaming:
    """How a module streams. Fields as the arguments of `streamer.runtime.attach.attach`; the source isn't owned."""

    root: nn.Module
    source: WeightSource
    settings: StreamSettings
    device: torch.device
    dtype: torch.dtype
    on_forward: OnForward | None
    keeps_type: bool


class Assembly:
    """A module under the engine, until it is closed. Owns the engine.

    Args:
        streaming: how.
        blocks: a partition of the parameters that stream.
        order: the turns of one forward, as numbers of blocks, as far as known.
        asleep: take no device memory before the first forward.

    Raises:
        BudgetError: the budget can't hold the largest block; the module keeps its weights.
    """

    def __init__(
        self, streaming: Streaming, blocks: Sequence[ModuleBlock], order: Sequence[int], *, asleep: bool
    ) -> None:
        self.blocks = tuple(blocks)
        settings, device, dtype = streaming.settings, streaming.device, streaming.dtype
        packed = streaming.source if settings.decodes_on(device.type) else None
        plan = make_plan(as_planned(blocks, dtype, packed), order, settings.vram_budget_nbytes)
        binder = Binder(blocks, device, dtype)
        self.engine = Engine(plan, streaming.source, binder, settings, device, dtype, asleep=asleep)
        try:
            self._hooks = StreamHooks(streaming.root, blocks, self.engine, streaming.on_forward)
            self._guards = Guards(streaming.root, device, dtype, keeps_type=streaming.keeps_type)
        except BaseException:
            self.engine.close()
            raise

    def undo(self) -> None:
        """The module runs as an ordinary one; its parameters are placeholders, and no longer this one's."""
        self.blocks = ()
        self.engine.close()
        self._hooks.remove()
        self._guards.remove()


def as_planned(blocks: Sequence[ModuleBlock], dtype: torch.dtype, packed: WeightSource | None = None) -> list[Block]:
    """The blocks as the plan sees them, in the same numbering.

    Args:
        blocks: a partition of a module's parameters.
        dtype: to compute in.
        packed: gives the weights in a form that the device expands; None: it doesn't.
    """
    itemsize = torch.empty((), dtype=dtype).element_size()
    return [
        lay_out(
            block.name,
            [(place.key, place.shape) for place in block.places],
            itemsize,
            pinned=block.pinned,
            runway=block.runway,
            inflated=[packed.info(place.key).inflated for place in block.places] if packed is not None else (),
        )
        for block in blocks
    ]
