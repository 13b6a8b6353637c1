"""How modules that run in turn divide the room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.models.portions import Wants, portions

WANTS = st.dictionaries(
    st.sampled_from("abcd"),
    st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(lambda pair: Wants(pair[0], pair[0] + pair[1])),
    min_size=1,
)


@given(st.integers(-10, 10_000), WANTS)
def test_everyone_can_run_nobody_gets_more_than_it_can_use_and_the_room_holds(room, wants):
    made = portions(room, wants)
    if sum(want.smallest_nbytes for want in wants.values()) > room:
        assert made is None
        return
    assert made.keys() == wants.keys()
    assert all(wants[name].smallest_nbytes <= made[name] <= wants[name].total_nbytes for name in wants)
    assert sum(made.values()) <= room
    used = min(room, sum(want.total_nbytes for want in wants.values()))
    assert used - sum(made.values()) < len(wants)


@given(WANTS)
def test_with_room_for_all_everyone_gets_all(wants):
    total = {name: want.total_nbytes for name, want in wants.items()}
    assert portions(sum(total.values()), wants) == total
