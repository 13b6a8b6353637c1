"""A plan in words and rows, for a person."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.config import format_size
from streamer.plan.plan import Plan


@dataclass(frozen=True)
class PlanRow:
    """One block as a row of a table: ``stays`` dense or packed; ``nbytes`` on the device while it runs."""

    name: str
    nbytes: int
    stays: bool
    offset: int
    turns: int


def rows(plan: Plan) -> tuple[PlanRow, ...]:
    """One row for each block: pinned ones first, then by turn."""
    in_order = dict.fromkeys([i for i, b in enumerate(plan.blocks) if b.pinned] + list(plan.order))
    rest = [i for i in range(len(plan.blocks)) if i not in in_order]
    return tuple(
        PlanRow(
            name=plan.blocks[i].name,
            nbytes=plan.blocks[i].nbytes,
            stays=i in plan.resident or i in plan.kept,
            offset=plan.slots[i].offset,
            turns=plan.order.count(i),
        )
        for i in [*in_order, *rest]
    )


def cycle_picture(plan: Plan, width: int = 72) -> str:
    """The cycle as a line of characters, in order of turns.

    ``#`` for bytes that stay, ``+`` for bytes that are expanded at each turn from a packed form that stays, ``.`` for
    bytes that stream.
    """
    total = sum(plan.blocks[i].nbytes for i in plan.order) or 1
    line: list[str] = []
    done = 0
    for i in plan.order:
        done += plan.blocks[i].nbytes
        mark = "#" if i in plan.resident else "+" if i in plan.kept else "."
        line.extend(mark * (round(done * width / total) - len(line)))
    return "".join(line)


def summary(plan: Plan) -> str:
    """The plan in one line: how much stays, how much streams in each step, within what budget."""
    budget = f"a budget of {format_size(plan.budget_nbytes)}"
    if len(plan.resident) == len(plan.blocks):
        return f"All {len(plan.blocks)} blocks ({format_size(plan.total_nbytes)}) stay on the device, within {budget}."
    if plan.packed:
        moving = len(plan.packed - plan.kept)
        return (
            f"{len(plan.resident | plan.kept)} of {len(plan.blocks)} blocks stay on the device "
            f"({format_size(plan.resident_nbytes)}), {len(plan.kept)} of them packed; "
            f"{format_size(plan.streamed_nbytes)} stream in each step, {moving} blocks of them packed, within {budget}."
        )
    return (
        f"{len(plan.resident)} of {len(plan.blocks)} blocks stay on the device ({format_size(plan.resident_nbytes)}), "
        f"{format_size(plan.streamed_nbytes)} stream in each step, within {budget}."
    )
