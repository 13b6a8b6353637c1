"""Every error says what happened, with its facts, and what to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.config import parse_size
from streamer.errors import (
    BudgetError,
    ModelError,
    SizeError,
    StreamerError,
    WeightsFileError,
    WeightsMismatchError,
    printable,
    smallest_size_text,
)

NASTY = "a\x1b[2Jb\0c\u202ed\udc80"


def test_the_hint_follows_the_message():
    error = StreamerError("It broke.", "Mend it.")
    assert str(error) == "It broke.\nMend it."
    assert (error.message, error.hint) == ("It broke.", "Mend it.")
    assert str(StreamerError("It broke.")) == "It broke."


@given(st.text(st.characters(codec=None), max_size=300))
def test_printable_text_can_be_printed_anywhere(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) < 2100
    shown.encode()


@given(st.text("abcäß語 .", max_size=200))
def test_text_that_is_printable_stays_as_it_is(text):
    assert printable(text) == text


def test_a_long_text_is_cut_and_says_so():
    assert printable("x" * 5000) == "x" * 200 + "... (5,000 characters)"


def test_size_error():
    error = SizeError("6 gigs", "there is no unit 'gigs'")
    assert "'6 gigs' is not a size: there is no unit 'gigs'" in str(error)
    assert "5.5GiB" in str(error)


def test_budget_error_gives_the_size_to_type():
    error = BudgetError(1000, 1_234_567_890, "up_blocks.0", "device budget")
    text = str(error)
    assert "device budget of 1,000 bytes" in text
    assert "up_blocks.0" in text
    assert "1,234,567,890 bytes" in text
    assert "The smallest that works is 1.24GB." in text


@given(st.integers(1, 10**18))
def test_the_smallest_size_as_text_is_enough_and_hardly_more(nbytes):
    enough = parse_size(smallest_size_text(nbytes))
    assert nbytes <= enough <= nbytes * 1.011


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (1, "1B"),
        (999, "999B"),
        (1000, "1KB"),
        (1001, "1.01KB"),
        (1_500_000, "1.5MB"),
        (12_345_671 * 10**9, "12345671GB"),
    ],
)
def test_the_smallest_size_is_short(nbytes, text):
    assert smallest_size_text(nbytes) == text


def test_mismatch_lists_every_kind_of_difference():
    error = WeightsMismatchError(
        "w.lzr2", ["m1", "m2"], ["u1"], [("s1", (3, 4), (4, 3)), ("s2", (), (1,))], "Try this."
    )
    text = str(error)
    assert "w.lzr2" in text
    assert "(2):\n  m1\n  m2" in text
    assert "(1):\n  u1" in text
    assert "s1: found 3x4, expected 4x3" in text
    assert "s2: found scalar, expected 1" in text
    assert text.endswith("\nTry this.")
    assert error.missing == ("m1", "m2")
    assert error.unknown == ("u1",)
    assert error.wrong_shape[0] == ("s1", (3, 4), (4, 3))


def test_mismatch_shows_ten_of_many_and_keeps_all():
    keys = [f"k{i}" for i in range(1700)]
    error = WeightsMismatchError("w", keys, [], [], "")
    assert "(1700)" in str(error)
    assert "and 1690 more" in str(error)
    assert "k9\n" in str(error)
    assert "k10" not in str(error)
    assert error.missing == tuple(keys)


@pytest.mark.parametrize(
    "error",
    [
        WeightsMismatchError(NASTY, [NASTY], [NASTY], [(NASTY, (1,), (2,))], "hint"),
        WeightsFileError(NASTY, "not there", "hint"),
        ModelError(NASTY, "not there"),
        BudgetError(1, 2, NASTY, "budget"),
    ],
)
def test_names_with_control_characters_are_escaped(error):
    text = str(error)
    assert "\\x1b[2J" in text
    assert all(c.isprintable() or c == "\n" for c in text)
    text.encode()


def test_file_error_names_the_path_once():
    assert str(WeightsFileError("a.lzr2", "cut short", "Get it again.")) == "a.lzr2: cut short\nGet it again."
    located = WeightsFileError("a.lzr2", "a.lzr2, byte 5: cut short", located=True)
    assert str(located) == "a.lzr2, byte 5: cut short"
    assert located.path == "a.lzr2"


def test_model_error_says_which_model_and_what_to_do():
    error = ModelError("org/name", "no such model", "Check the name.")
    assert str(error) == "org/name: no such model\nCheck the name."
    assert error.model == "org/name"
