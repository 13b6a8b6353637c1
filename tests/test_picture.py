"""The sheet of references, and the assertion that stands on it: it must be able to fail."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.picture import SIDE, assert_shows, nearest_concept, picture_of, references


@pytest.mark.parametrize(
    ("concept", "place", "colour"),
    [
        ("red apple", (32, 40), (248, 49, 47)),
        ("blue square", (32, 32), (0, 166, 237)),
        ("green circle", (32, 32), (0, 210, 106)),
        ("yellow square", (32, 32), (255, 176, 46)),
        ("black heart", (24, 24), (33, 33, 33)),
    ],
)
def test_each_name_lies_at_its_own_tile(concept, place, colour):
    found = np.array(picture_of(concept).getpixel(place), int)
    assert np.abs(found - colour).max() <= 12


def test_tiles_are_on_white():
    corners = [picture[y, x] for picture in references().values() for y in (0, SIDE - 1) for x in (0, SIDE - 1)]
    assert np.mean([corner.min() == 1 for corner in corners]) > 0.95


def test_every_reference_shows_itself_even_with_some_noise():
    random = np.random.default_rng(0)
    for concept, pixels in references().items():
        noisy = np.clip(pixels + random.normal(0, 0.05, pixels.shape), 0, 1)
        assert_shows(Image.fromarray((noisy * 255).round().astype(np.uint8)), concept)


def test_another_thing_is_not_what_was_asked():
    with pytest.raises(AssertionError, match=r"asked for 'red apple' .* nearest is 'green apple'"):
        assert_shows(picture_of("green apple"), "red apple")


def test_grey_shows_nothing():
    grey = Image.new("RGB", (SIDE, SIDE), (128, 128, 128))
    with pytest.raises(AssertionError, match=r"0\.\d+ away"):
        assert_shows(grey, nearest_concept(grey))


def test_what_is_nearest_and_yet_far_is_nothing_like_it():
    random = np.random.default_rng(0)
    noisy = np.clip(references()["red apple"] + random.normal(0, 0.4, (SIDE, SIDE, 3)), 0, 1)
    with pytest.raises(AssertionError, match="nothing like it"):
        assert_shows(Image.fromarray((noisy * 255).astype(np.uint8)), "red apple")


@pytest.mark.parametrize(("colour", "background"), [("blue", "white"), (None, "yellow"), ("purple", "green")])
def test_colour_and_background_count(colour, background):
    assert_shows(picture_of("cat face", colour, background), "cat face", colour, background)
    with pytest.raises(AssertionError, match="in its own colour on white"):
        assert_shows(picture_of("cat face"), "cat face", colour, background)
