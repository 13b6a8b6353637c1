"""Random block lists, orders and budgets; and a step carried out byte by byte, the plainest way there is."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from streamer.plan import Block, Plan, smallest_budget
from streamer.plan.packed import PackedForm

UNIT = 512


def block(name: str, units: int, *, pinned: bool = False, runway: bool = False, packed: int = 0) -> Block:
    form = PackedForm((), packed * UNIT, (units - packed) * UNIT) if packed else None
    return Block(name, (), units * UNIT, pinned, runway, form)


def equal(count: int, units: int = 1) -> list[Block]:
    return [block(f"b{i}", units) for i in range(count)]


@dataclass(frozen=True)
class Example:
    """Blocks and the order of their turns."""

    blocks: list[Block]
    order: list[int]

    @property
    def movable_nbytes(self) -> int:
        return sum(b.nbytes for b in self.blocks if not b.pinned)

    @property
    def pinned_nbytes(self) -> int:
        return sum(b.nbytes for b in self.blocks if b.pinned)


@st.composite
def once_each(draw: st.DrawFn) -> Example:
    """Every block that isn't pinned has one turn."""
    rows = draw(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 9)), min_size=1, max_size=14))
    blocks = [block(f"b{i}", units, pinned=kind == 0, runway=kind == 1) for i, (units, kind) in enumerate(rows)]
    order = draw(st.permutations([i for i, b in enumerate(blocks) if not b.pinned]))
    return Example(blocks, order)


@st.composite
def any_turns(draw: st.DrawFn) -> Example:
    """Blocks may have several turns, or none."""
    example = draw(once_each())
    if not example.order:
        return example
    return Example(example.blocks, draw(st.lists(st.sampled_from(example.order), max_size=20)))


@st.composite
def some_packed(draw: st.DrawFn) -> Example:
    """Some blocks have a packed form."""
    example = draw(st.one_of(once_each(), any_turns()))
    blocks = list(example.blocks)
    for i, each in enumerate(blocks):
        units = each.nbytes // UNIT * draw(st.sampled_from([1, 4]))
        packed = 0 if units == 1 else draw(st.integers(0, units - 1))
        blocks[i] = block(each.name, units, pinned=each.pinned, runway=each.runway, packed=packed)
    return Example(blocks, example.order)


def budgets(example: Example) -> st.SearchStrategy[int]:
    """To the byte, from the smallest that works to somewhat above everything."""
    smallest = smallest_budget(example.blocks)
    return st.integers(smallest, example.pinned_nbytes + example.movable_nbytes + 3 * UNIT)


def simulate(plan: Plan, steps: int, ahead: int) -> list[int]:
    """Bytes that move in each step, if up to ``ahead`` turns are loaded ahead, in order, as soon as every byte is free.

    Fails if a block isn't there at its turn, if two are in one place, or if more is live than the budget.
    """
    owner: dict[int, int] = {}  # of each byte range of the slab that is live, by unit
    loaded = [0] * steps
    turns = list(plan.order) * steps
    there: set[int] = set()  # packed blocks that stay

    def units(i: int) -> range:
        assert plan.slots[i].nbytes == plan.blocks[i].nbytes
        assert plan.slots[i].offset % UNIT == 0
        assert plan.slots[i].end <= plan.arena_nbytes
        return range(plan.slots[i].offset // UNIT, plan.slots[i].end // UNIT)

    def load(i: int) -> None:
        assert not any(unit in owner for unit in units(i))
        owner.update(dict.fromkeys(units(i), i))
        assert len(owner) * UNIT <= plan.budget_nbytes

    for slot in (*plan.kept_slots.values(), plan.landing, plan.scratch):
        taken = range(slot.offset // UNIT, slot.end // UNIT)
        assert not any(unit in owner for unit in taken)
        owner.update(dict.fromkeys(taken, -1))
    for i, each in enumerate(plan.blocks):
        if each.pinned:
            load(i)
    cursor = 0
    for turn, running in enumerate(turns):
        while cursor <= min(turn + ahead, len(turns) - 1):
            coming = turns[cursor]
            if coming not in plan.resident or coming not in owner.values():
                if any(unit in owner for unit in units(coming)):
                    break
                load(coming)
                if coming not in there:
                    loaded[cursor // len(plan.order)] += plan.upload_nbytes(coming)
                if coming in plan.kept:
                    there.add(coming)
            cursor += 1
        assert cursor > turn, f"turn {turn}: block {running} can never come"
        assert all(owner.get(unit) == running for unit in units(running))
        if running not in plan.resident:
            for unit in units(running):
                del owner[unit]
    return loaded
