"""One budget for several streamed modules: text encoders, U-Net and VAE take turns on the device."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Protocol

from streamer.errors import PartBudgetError
from streamer.runtime.gate import Gate


class Member(Protocol):
    """A streamed module as the shared budget sees it."""

    @property
    def total_nbytes(self) -> int:
        """Of all its weights and adapters on the device, if all of them stay."""
        ...

    @property
    def smallest_nbytes(self) -> int:
        """The smallest budget that it can run with."""
        ...

    @property
    def device_nbytes(self) -> int:
        """That its weights take on the device now, adapters left out; 0 while it is suspended."""
        ...

    @property
    def in_memory_nbytes(self) -> int:
        """That its adapters take on the device, also while it is suspended."""
        ...

    @property
    def budget_nbytes(self) -> int:
        """Most bytes of its weights and adapters on the device."""
        ...

    def set_budget(self, nbytes: int) -> None:
        """From its next step on no more weights and adapters than this are on the device."""
        ...

    def take_shrunk(self) -> int | None:
        """The budget with which its last forward succeeded after it ran out of memory; None: it didn't."""
        ...

    def suspend(self) -> None:
        """It lets go of all device memory until its next step."""
        ...


class SharedBudget:
    """At any time all members' weights and adapters, what always stays, and the running one's activations fit in.

    The member that runs has precedence: others keep their weights on the device only where all that it can use fits
    beside them; those that ran longest ago go first. Thread-safe; one member runs at a time. Members and owners aren't
    kept alive.

    Args:
        nbytes: the budget.
        reserved_nbytes: of it, for what isn't a member's: the device's context.

    Attributes:
        gate: through which the forwards of all members go.
    """

    def __init__(self, nbytes: int, reserved_nbytes: int = 0) -> None:
        self._nbytes = nbytes
        self._reserved_nbytes = reserved_nbytes
        self._lock = threading.RLock()
        self.gate = Gate()
        self._reserved: weakref.WeakKeyDictionary[object, int] = weakref.WeakKeyDictionary()
        # Those that ran longest ago first.
        self._members: weakref.WeakValueDictionary[str, Member] = weakref.WeakValueDictionary()
        self._ceilings: dict[tuple[str, int], int] = {}  # by what a forward's activations were said to be
        self._entered: dict[str, int] = {}
        self._ran_last: str | None = None
        self.limits: dict[str, int] = {}
        """By member: most bytes of its weights, so that others keep theirs. May be set between forwards."""

    @property
    def nbytes(self) -> int:
        """The whole budget. May be set; it holds from the next forward of any member on."""
        return self._nbytes

    @nbytes.setter
    def nbytes(self, nbytes: int) -> None:
        """From the next forward of any member on."""
        self._nbytes = nbytes

    @property
    def reserved_nbytes(self) -> int:
        """Of the budget, for what isn't a member's. May be set; it holds from the next forward of any member on."""
        return self._reserved_nbytes + max(self._reserved.values(), default=0)

    @reserved_nbytes.setter
    def reserved_nbytes(self, nbytes: int) -> None:
        """From the next forward of any member on."""
        self._reserved_nbytes = nbytes

    def reserve(self, owner: object, nbytes: int) -> None:
        """From the next forward on so much is left free, as long as the owner is there; of several owners the most.

        Args:
            owner: of what needs the room; another call of its replaces this one.
            nbytes: that it needs beside weights and activations.
        """
        with self._lock:
            self._reserved[owner] = nbytes

    def add(self, name: str, member: Member) -> str:
        """The member shares the budget from now on.

        Args:
            name: what a person calls it.
            member: asleep still.

        Returns its name here: with a number if another has it.
        """
        with self._lock:
            unique, number = name, 1
            while unique in self._members:
                number += 1
                unique = f"{name} ({number})"
            self._members[unique] = member
            if self._ran_last == unique:  # one that had this name, and is gone
                self._ran_last = None
            return unique

    def room(self, activations_nbytes: int) -> int:
        """Bytes for weights beside what always stays, adapters and these activations; may be below 0."""
        adapters = _in_memory(self._members.values())
        return self._nbytes - self.reserved_nbytes - adapters - activations_nbytes

    def smallest(self, name: str, activations_nbytes: int) -> int:
        """The smallest budget with which the member can run."""
        others = _in_memory(member for other, member in self._members.items() if other != name)
        return self.reserved_nbytes + activations_nbytes + others + self._members[name].smallest_nbytes

    def enter(self, name: str, activations_nbytes: int) -> bool:
        """The member is about to run: it gets all the room it can use, and others give up what stands in its way.

        Args:
            name: of the member.
            activations_nbytes: that its forward needs beside weights.

        Returns whether it takes another's turn: that one ran last, and the two don't divide the room (`limits`).

        Raises:
            PartBudgetError: the member can't run within the budget; carries the smallest with which it can.
        """
        with self._lock:
            member = self._members.pop(name)
            others = tuple(self._members.values())
            self._members[name] = member
            room = self.room(activations_nbytes) + member.in_memory_nbytes
            if room < member.smallest_nbytes:
                raise PartBudgetError(self._nbytes, self.smallest(name, activations_nbytes), name, activations_nbytes)
            most = min(member.total_nbytes, max(self.limits.get(name, room), member.smallest_nbytes))
            wanted = min(most, room)
            for other in others:
                if wanted + _on_device(others) <= room:
                    break
                other.suspend()
            budget = min(most, room - _on_device(others), self._ceiling(name, activations_nbytes))
            if budget != member.budget_nbytes:
                member.set_budget(budget)
            ran_last, self._ran_last = self._ran_last, name
            return ran_last != name and not {ran_last, name} <= self.limits.keys()

    def _ceiling(self, name: str, activations_nbytes: int) -> int:
        """What weights may take at most, by what earlier forwards of this kind found: more ran out of memory."""
        shrunk = self._members[name].take_shrunk()
        if shrunk is not None and name in self._entered:
            self._ceilings[name, self._entered[name]] = shrunk
        self._entered[name] = activations_nbytes
        ceiling = self._ceilings.get((name, activations_nbytes), self._nbytes)
        # With adapters that were loaded since, it may need more than it had then.
        return max(ceiling, self._members[name].smallest_nbytes)

    def expect(self, name: str, activations_nbytes: int) -> None:
        """The member's plan becomes the one that it will have when it runs alone with these activations.

        Raises:
            BudgetError: it can't run within the budget.
        """
        with self._lock:
            member = self._members[name]
            room = self.room(activations_nbytes) + member.in_memory_nbytes
            budget = min(member.total_nbytes, room, self.limits.get(name, room))
            if budget != member.budget_nbytes and not member.device_nbytes:
                member.set_budget(budget)

    def suspend_all(self) -> None:
        """Nobody's weights are on the device."""
        with self._lock:
            for member in self._members.values():
                member.suspend()


def _on_device(members: tuple[Member, ...]) -> int:
    return sum(member.device_nbytes for member in members)


def _in_memory(members: Iterable[Member]) -> int:
    return sum(member.in_memory_nbytes for member in members)


OnForward = Callable[[tuple[object, ...], dict[str, object]], None]
"""Told of a forward's arguments before it begins."""
