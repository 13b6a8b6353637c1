"""No garbage is looked for within, and afterwards it is as before."""

from __future__ import annotations

import gc
import weakref

import pytest

from streamer.models.uncollected import uncollected


@pytest.fixture(autouse=True)
def looking():
    gc.unfreeze()  # what commands that ran before in this process froze
    yield
    gc.enable()


def test_nothing_is_looked_for_within_and_everything_afterwards():
    assert gc.isenabled()
    with uncollected():
        before = gc.get_stats()
        kept = [[] for _ in range(100_000)]
        assert gc.get_stats() == before
    assert gc.isenabled()
    assert len(kept) == 100_000


def test_an_inner_one_does_not_end_the_outer_one():
    with uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_program_that_looks_for_none_goes_on_so():
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()


def test_an_error_ends_it_too():
    with pytest.raises(KeyError), uncollected():
        raise KeyError
    assert gc.isenabled()


class Node:
    """One half of a cycle."""

    other: Node


def cycle() -> weakref.ref[Node]:
    one, two = Node(), Node()
    one.other, two.other = two, one
    return weakref.ref(one)


def test_what_was_garbage_before_is_collected_first_and_what_was_made_is_long_lived():
    gc.collect()
    before = cycle()
    with uncollected():
        assert before() is None
        within = cycle()
        kept = Node()
    assert within() is not None
    gc.collect(1)
    assert within() is not None
    assert any(each is kept for each in gc.get_objects(generation=2))
    gc.collect()
    assert within() is None


def test_what_a_program_froze_stays_frozen():
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with uncollected():
            kept = Node()
        assert gc.get_freeze_count() > frozen // 2
        assert not any(each is kept for each in gc.get_objects(generation=2))
    finally:
        gc.unfreeze()
