"""Errors carry their fields, print safely, and survive a trip between processes."""

from __future__ import annotations

import pickle

import pytest

from lzr2 import errors
from lzr2.errors import Lzr2Error, printable


def classes() -> list[type[Lzr2Error]]:
    found = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Lzr2Error)]
    assert len(found) > 20
    return found


@pytest.mark.parametrize("kind", classes())
def test_fields_and_message(kind: type[Lzr2Error]) -> None:
    error = kind("a fault", path="p", key="k\n", offset=7, found=1, expected=2, advice="Do this.")
    assert str(error) == r"p, record 'k\n', byte 7: a fault: found 1, expected 2. Do this."
    assert (error.path, error.key, error.offset, error.found, error.expected) == ("p", "k\n", 7, 1, 2)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert kind.__doc__


def test_a_message_of_little() -> None:
    assert str(Lzr2Error("a fault")) == "a fault"
    assert str(Lzr2Error("a fault", expected=3)) == "a fault: expected 3"
    assert str(errors.StaleFileError("a fault")) == "a fault. Open the file again."


def test_printable() -> None:
    assert printable("plain é 重") == "plain é 重"
    assert printable("\x1b[2J\ud800\u202e") == r"\x1b[2J\ud800\u202e"
    assert printable("x" * 1000) == "x" * 200 + "… (1000 characters)"
