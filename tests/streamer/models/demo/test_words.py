"""What the demo knows of a prompt: all that it was taught, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.models.demo import demo_concepts
from streamer.models.demo.files import demo_other_names
from streamer.models.demo.words import COLOURS, not_understood

NAMES = [*demo_concepts(), *(other for others in demo_other_names().values() for other in others)]


@given(
    name=st.sampled_from(NAMES),
    article=st.sampled_from(["", "a ", "The "]),
    background=st.sampled_from(["", *(f" on {colour} background" for colour in COLOURS)]),
)
def test_whatever_it_was_taught_is_understood(name, article, background):
    assert not_understood(f"{article}{name}{background}") is None


@pytest.mark.parametrize("prompt", ["blue cat face on yellow background", "purple circle", "pink apple", "Red CAR"])
def test_things_may_have_colours_and_backgrounds(prompt):
    assert not_understood(prompt) is None


@pytest.mark.parametrize(
    ("prompt", "words", "near"),
    [
        ("aple", ("aple",), "apple"),
        ("dinosour", ("dinosour",), "dinosaur"),
        ("three cats", ("three", "cats"), "cat"),
        ("face", ("face",), "cat face"),
        ("smilling face", ("smilling",), "smiling face"),
    ],
)
def test_what_comes_near_is_suggested(prompt, words, near):
    found = not_understood(prompt)
    assert found is not None
    if prompt != "smilling face":
        assert found.words == words
    assert near in found.near or any(near in name for name in found.near)
    assert f'"{found.near[0]}"' in found.text()
    assert len(found.near) <= 3


def test_every_suggestion_is_understood():
    for prompt in ("aple", "moutain", "hause", "kitten dog", "glass", "yelow hart"):
        found = not_understood(prompt)
        for name in found.near if found is not None else ():
            assert not_understood(name) is None


def test_nothing_is_suggested_where_nothing_comes_near():
    found = not_understood("xylophone")
    assert found is not None
    assert found.near == ()
    assert "Did you mean" not in found.text()
    assert "--demo-prompts" in found.text()


def test_of_a_known_thing_only_the_unknown_words_are_told():
    found = not_understood("red apple beside a zebra")
    assert found is not None
    assert found.words == ("beside", "zebra")


def test_a_colour_alone_is_nothing_to_draw():
    assert not_understood("red") is not None
    assert not_understood("") is None  # the text alone can't be told of: an empty prompt is refused elsewhere


def test_other_names_are_of_its_own_concepts():
    assert set(demo_other_names()) == set(demo_concepts())
    assert len(set(NAMES)) == len(NAMES)
