"""What stays, what streams, and where it lies. Pure: numbers in, plan out; no torch, no files, no clock."""

from streamer.plan.block import Block, TensorPlace, lay_out
from streamer.plan.budget import smallest_budget
from streamer.plan.placement import Slot
from streamer.plan.plan import Plan, make_plan

__all__ = ["Block", "Plan", "Slot", "TensorPlace", "lay_out", "make_plan", "smallest_budget"]
