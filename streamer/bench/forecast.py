"""What to expect of a U-Net and its weights on this machine, for any budget."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from streamer.bench.compute_cost import ComputeCost, assumed_cost, measured_cost
from streamer.bench.decode_cost import DecodeCost, measured_decode
from streamer.bench.link_speed import measured_link
from streamer.bench.prediction import Prediction, predict
from streamer.bench.simulate import Costs, Machine
from streamer.config import StreamSettings
from streamer.errors import PartBudgetError
from streamer.models.host_memory import default_packed_nbytes
from streamer.models.open import OpenedUnet
from streamer.models.unet import unet_blocks
from streamer.models.unet_inputs import StepShape
from streamer.plan import Block, Plan, make_plan, smallest_budget
from streamer.plan.thresholds import thresholds
from streamer.processors import processors
from streamer.runtime.attach import as_planned
from streamer.runtime.keeping import Keeping, keep_by
from streamer.sources.base import WeightSource

ASSUMED_LINK = 12e9
"""Bytes a second to a GPU when nobody says: what PCIe 3.0 x16 reaches, and PCIe 4.0 in laptops."""

_COMPUTE_SECONDS = 3.0  # for measuring
_DECODE_SECONDS = 1.5


@dataclass(frozen=True)
class Outlook:
    """What one budget gives.

    Attributes:
        budget_nbytes: of everything on the device.
        plan: for what of it is left to weights.
        keeping: in host memory and page cache.
        held_nbytes: of host memory that it takes.
        needed_nbytes: of the device's memory: the budget, or what of it is used if all stays; on a CPU, where both are
            the same memory, with what is held.
        prediction: of its steps.
    """

    budget_nbytes: int
    plan: Plan
    keeping: Keeping
    held_nbytes: int
    needed_nbytes: int
    prediction: Prediction


@dataclass(frozen=True)
class Forecast:
    """A model, its weights and a machine, ready to be asked about budgets.

    Attributes:
        source: of the weights; open.
        settings: budgets and threads.
        blocks: of the model.
        compute: what each turn costs.
        decode: what each tensor costs.
        machine: that does the work.
        beside_nbytes: of the budget that isn't for weights: activations, the picture, the device's context.
        packs: the engine may move and keep blocks packed on the device, which this doesn't know.
        link_is_known: the link's speed was measured or given, not assumed.
    """

    source: WeightSource
    settings: StreamSettings
    blocks: tuple[Block, ...]
    compute: ComputeCost
    decode: DecodeCost
    machine: Machine
    beside_nbytes: int
    packs: bool = False
    link_is_known: bool = True

    def at(self, vram_budget_nbytes: int) -> Outlook:
        """The plan for the budget, and what its steps will be like.

        Args:
            vram_budget_nbytes: most bytes of everything on the device.

        Raises:
            PartBudgetError: it can't hold the largest block and what is beside weights.
        """
        plan, keeping = self._planned(vram_budget_nbytes)
        costs = Costs(
            turn_seconds=self.compute.turn_seconds,
            gap_seconds=self.compute.gap_seconds,
            first_loads=self.decode.first_loads(plan, keeping),
            later_loads=self.decode.later_loads(plan, keeping),
        )
        held_nbytes, needed_nbytes = self._held_nbytes(keeping), self._needed_nbytes(plan, keeping)
        prediction = predict(plan, costs, self.machine)
        return Outlook(vram_budget_nbytes, plan, keeping, held_nbytes, needed_nbytes, prediction)

    def fitting(self, free_nbytes: int) -> tuple[int, ...]:
        """The thresholds at which steps need no more than so many bytes of the device's memory; at least the first.

        Args:
            free_nbytes: of a CPU's memory, without what libraries take.
        """
        every = self.thresholds()
        # One by one: what is held gets less as more stays, so that a larger budget may need less.
        fit = [each for each in every if self._needed_nbytes(*self._planned(each)) <= free_nbytes]
        return tuple(fit) or every[:1]

    def _planned(self, vram_budget_nbytes: int) -> tuple[Plan, Keeping]:
        smallest = self.beside_nbytes + smallest_budget(self.blocks)
        if vram_budget_nbytes < smallest:
            raise PartBudgetError(vram_budget_nbytes, smallest, "the U-Net", self.beside_nbytes)
        plan = make_plan(self.blocks, self.compute.order, vram_budget_nbytes - self.beside_nbytes)
        settings = self.settings
        if settings.hold_only_smaller:  # nobody said what host memory may keep: that goes by the budget, then
            settings = replace(settings, packed_ram_nbytes=default_packed_nbytes(vram_budget_nbytes))
        return plan, keep_by(plan, self.source, settings)

    def _held_nbytes(self, keeping: Keeping) -> int:
        return sum(self.source.info(key).held_nbytes for key in keeping.kept)

    def _needed_nbytes(self, plan: Plan, keeping: Keeping) -> int:
        held_nbytes = self._held_nbytes(keeping) if self.machine.compute_threads > 0 else 0
        return self.beside_nbytes + plan.arena_nbytes + held_nbytes

    def thresholds(self) -> tuple[int, ...]:
        """Every budget from which on more stays, in bytes, ascending."""
        return tuple(self.beside_nbytes + nbytes for nbytes in thresholds(self.blocks, self.compute.order))


def forecast(
    opened: OpenedUnet,
    shape: StepShape,
    *,
    beside_nbytes: int = 0,
    link: float | None = None,
    disk: float | None = None,
    flops_per_second: float | None = None,
    holds: bool = False,
) -> Forecast:
    """Measures this machine for a few seconds; reads a few tensors of the weights.

    Args:
        opened: the U-Net and its weights.
        shape: of the latent.
        beside_nbytes: of the budget that isn't for weights.
        link: bytes a second to the device; None: measured, or if that can't be done `ASSUMED_LINK`. Of no use on a
            CPU, which needs none.
        disk: bytes a second that the disk gives; None: whatever is read is in the system's page cache.
        flops_per_second: that the device reaches; None: measured.
        holds: what host memory costs is measured even where the settings keep nothing there.
    """
    blocks = tuple(as_planned(unet_blocks(opened.unet), opened.dtype))
    config = dict(opened.unet.config)
    compute = (
        measured_cost(config, shape, opened.device, opened.dtype, _COMPUTE_SECONDS)
        if flops_per_second is None
        else assumed_cost(config, shape, flops_per_second)
    )
    least = make_plan(blocks, compute.order, thresholds(blocks, compute.order)[0])
    # A larger plan may keep some where the smallest keeps nothing: its first group may be smaller.
    holds = holds or opened.settings.ram_budget_nbytes > 0 or bool(keep_by(least, opened.source, opened.settings).kept)
    at_once = max(1, min(opened.settings.workers, processors()))
    decode = measured_decode(opened.source, blocks, opened.dtype, holds=holds, threads=at_once, seconds=_DECODE_SECONDS)
    on_cpu = opened.device.type == "cpu"
    measured = measured_link(opened.device) if link is None else None
    machine = Machine(
        cores=processors(),
        compute_threads=torch.get_num_threads() if on_cpu else 0,
        workers=opened.settings.workers,
        link=None if on_cpu else link or measured or ASSUMED_LINK,
        disk=disk,
        load_in_pauses=opened.settings.load_in_pauses,
    )
    packs = opened.settings.decodes_on(opened.device.type) and any(
        opened.source.info(place.key).inflated is not None for block in blocks for place in block.tensors
    )
    known = on_cpu or link is not None or measured is not None
    return Forecast(opened.source, opened.settings, blocks, compute, decode, machine, beside_nbytes, packs, known)
