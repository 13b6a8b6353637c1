"""Options of two values become one text each, and nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.cli.pairs import joined, split
from streamer.errors import SettingError

VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1).filter(
    lambda text: not text.startswith("-")
)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=4), st.booleans())
def test_every_pair_comes_out_as_it_went_in(pairs, equals):
    arguments = ["red apple"]
    for model, image in pairs:
        arguments += [f"--control={model}", image] if equals else ["--control", model, image]
    made = joined([*arguments, "--steps", "2"])
    assert [split(text) for text in made[2:-2:2]] == pairs
    assert made[0] == "red apple"
    assert made[1:-2:2] == ["--control"] * len(pairs)
    assert made[-2:] == ["--steps", "2"]


@given(st.lists(VALUES, max_size=6))
def test_other_arguments_stay(arguments):
    plain = [text for text in arguments if text.partition("=")[0] not in ("--control", "--ip-adapter")]
    assert joined(plain) == plain


def test_what_follows_two_dashes_stays():
    assert joined(["--", "--control", "x"]) == ["--", "--control", "x"]


@pytest.mark.parametrize(
    "arguments", [["--control"], ["--control", "m"], ["--control=m"], ["--control", "m", "--steps"]]
)
def test_a_value_that_is_missing_is_told(arguments):
    with pytest.raises(SettingError, match="--control MODEL IMAGE"):
        joined(arguments)
