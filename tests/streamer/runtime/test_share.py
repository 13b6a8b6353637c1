"""One budget for several modules: laws over random forwards, and what happens to those that don't run."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import PartBudgetError
from streamer.runtime.share import SharedBudget


@dataclass
class FakeMember:
    """Takes all it may of the device when it runs."""

    total_nbytes: int
    smallest_nbytes: int
    budget_nbytes: int = 1 << 62
    device_nbytes: int = 0
    in_memory_nbytes: int = 0
    budgets: list[int] = field(default_factory=list)
    shrunk: int | None = None

    def set_budget(self, nbytes: int) -> None:
        assert nbytes >= self.smallest_nbytes
        self.budget_nbytes = nbytes
        self.budgets.append(nbytes)

    def take_shrunk(self) -> int | None:
        shrunk, self.shrunk = self.shrunk, None
        return shrunk

    def suspend(self) -> None:
        self.device_nbytes = 0

    def run(self) -> None:
        self.device_nbytes = min(self.total_nbytes, self.budget_nbytes) - self.in_memory_nbytes


def sharing(budget: int, reserved: int = 0, **members: FakeMember) -> SharedBudget:
    share = SharedBudget(budget, reserved)
    for name, member in members.items():
        share.add(name, member)
    return share


sizes = st.tuples(st.integers(0, 50), st.integers(0, 100), st.integers(0, 20)).map(
    lambda it: FakeMember(sum(it), it[0] + it[2], in_memory_nbytes=it[2])
)


@given(
    st.lists(sizes, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=20),
    st.integers(1, 250),
    st.integers(0, 20),
)
def test_weights_adapters_activations_and_what_stays_never_exceed_the_budget(members, forwards, budget, reserved):
    share = sharing(budget, reserved, **{str(i): member for i, member in enumerate(members)})
    for number, activations in forwards:
        member = members[number % len(members)]
        adapters = sum(m.in_memory_nbytes for m in members)
        room = budget - reserved - activations - adapters + member.in_memory_nbytes
        if room < member.smallest_nbytes:
            with pytest.raises(PartBudgetError) as caught:
                share.enter(str(number % len(members)), activations)
            least = reserved + activations + adapters - member.in_memory_nbytes + member.smallest_nbytes
            assert caught.value.smallest_nbytes == least > budget
            continue
        share.enter(str(number % len(members)), activations)
        member.run()
        assert sum(m.device_nbytes for m in members) + adapters + activations + reserved <= budget
        # The one that runs has all that it can use.
        assert member.device_nbytes + member.in_memory_nbytes == min(member.total_nbytes, room)


def test_others_stay_where_there_is_room_for_all():
    a, b = FakeMember(10, 1), FakeMember(20, 1)
    share = sharing(40, a=a, b=b)
    for _ in range(3):
        share.enter("a", 5)
        a.run()
        share.enter("b", 5)
        b.run()
    assert (a.device_nbytes, b.device_nbytes) == (10, 20)
    assert (len(a.budgets), len(b.budgets)) == (1, 1)  # a budget that stays the same is not set again


def test_those_that_ran_longest_ago_go_first():
    members = {name: FakeMember(10, 1) for name in "abc"}
    share = sharing(25, **members)
    for name in "abc":
        share.enter(name, 0)
        members[name].run()
    assert [members[name].device_nbytes for name in "abc"] == [0, 10, 10]
    share.enter("b", 0)
    share.enter("a", 0)
    assert [members[name].device_nbytes for name in "bc"] == [10, 0]


def test_who_takes_turns_is_told():
    a, b = FakeMember(10, 1), FakeMember(10, 1)
    share = sharing(25, a=a, b=b)
    assert [share.enter(name, 0) for name in "aabba"] == [True, False, True, False, True]
    with pytest.raises(PartBudgetError):
        share.enter("b", 25)
    assert not share.enter("a", 0)  # who was refused hasn't had a turn
    share.limits = {"a": 10, "b": 10}
    assert not any(share.enter(name, 0) for name in "bab")  # they run in turn in each step


def test_who_has_the_name_of_one_that_is_gone_takes_a_turn():
    share = SharedBudget(25)
    first = FakeMember(10, 1)
    share.add("a", first)
    share.enter("a", 0)
    del first
    second = FakeMember(10, 1)
    assert share.add("a", second) == "a"
    assert share.enter("a", 0)


def test_a_new_budget_holds_from_the_next_forward_on():
    a = FakeMember(100, 10)
    share = sharing(50, 5, a=a)
    share.enter("a", 0)
    assert a.budgets == [45]
    share.nbytes, share.reserved_nbytes = 90, 10
    share.enter("a", 20)
    assert a.budgets == [45, 60]
    assert (share.room(20), share.smallest("a", 20)) == (60, 40)


def test_what_is_expected_is_only_told_to_who_sleeps():
    a = FakeMember(100, 10)
    share = sharing(50, a=a)
    share.expect("a", 10)
    assert a.budgets == [40]
    a.run()
    share.expect("a", 30)
    assert a.budgets == [40]


def test_all_can_be_suspended():
    a, b = FakeMember(10, 1, device_nbytes=10), FakeMember(10, 1, device_nbytes=5)
    sharing(50, a=a, b=b).suspend_all()
    assert (a.device_nbytes, b.device_nbytes) == (0, 0)


def test_what_ran_out_of_memory_is_not_tried_again_with_as_many_weights():
    a = FakeMember(100, 10)
    share = sharing(80, a=a)
    share.enter("a", 5)
    a.budget_nbytes = a.shrunk = 37  # the engine made room
    for _ in range(3):
        share.enter("a", 5)
        assert a.budget_nbytes == 37
    share.enter("a", 2)  # a smaller picture
    assert a.budget_nbytes == 78
    share.enter("a", 5)
    assert a.budget_nbytes == 37


def test_what_ran_out_of_memory_has_room_for_adapters_that_are_loaded_later():
    a = FakeMember(100, 10)
    share = sharing(80, a=a)
    share.enter("a", 5)
    a.budget_nbytes = a.shrunk = 12
    share.enter("a", 5)
    assert a.budget_nbytes == 12
    a.in_memory_nbytes, a.smallest_nbytes, a.total_nbytes = 20, 30, 120
    share.enter("a", 5)
    assert a.budget_nbytes == 30


def test_names_are_unique_and_members_that_are_gone_do_not_count():
    a, b = FakeMember(10, 1, device_nbytes=10), FakeMember(10, 1, device_nbytes=10)
    share = SharedBudget(20)
    assert [share.add("x", a), share.add("x", b)] == ["x", "x (2)"]
    share.enter("x", 0)
    assert b.device_nbytes == 10
    share.enter("x", 5)
    assert b.device_nbytes == 0
    del b
    c = FakeMember(10, 1)
    assert share.add("x", c) == "x (2)"


class Owner:
    pass


def test_of_several_owners_the_one_that_needs_most_has_it_reserved():
    a, one, other = FakeMember(100, 10), Owner(), Owner()
    share = sharing(100, 10, a=a)
    share.reserve(one, 20)
    share.reserve(other, 30)
    assert (share.reserved_nbytes, share.room(5), share.smallest("a", 5)) == (40, 55, 55)
    share.reserve(other, 5)
    assert share.reserved_nbytes == 30
    del one
    assert share.reserved_nbytes == 15


def test_those_that_run_in_turn_keep_their_weights_within_their_limits():
    a, b = FakeMember(100, 10), FakeMember(50, 5)
    share = sharing(90, a=a, b=b)
    share.limits = {"a": 60, "b": 30}
    for _ in range(3):
        share.enter("a", 0)
        a.run()
        share.enter("b", 0)
        b.run()
        assert (a.device_nbytes, b.device_nbytes) == (60, 30)
    assert (a.budgets, b.budgets) == ([60], [30])
    share.limits = {"a": 1}  # less than it can run with
    share.enter("a", 0)
    assert a.budgets[-1] == 10
    share.limits = {}
    share.enter("b", 70)
    assert b.budgets[-1] == 20
