"""No garbage is looked for within, and afterwards it is as before."""

from __future__ import annotations

import gc

import pytest

from streamer.models.uncollected import uncollected


@pytest.fixture(autouse=True)
def looking():
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
