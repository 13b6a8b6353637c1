"""Colours, backgrounds, names and captions: no caption means two pictures."""

from __future__ import annotations

import numpy as np
import pytest

from tests.picture import drawings
from tests.tools.train_demo.shapes_drawn import NAMES, pixels
from tools.train_demo.captions import Variant, all_variants, allowed_colours, caption, prompt, render
from tools.train_demo.colours import BACKGROUNDS, HUES, colours_for, main_hue, on_background, recoloured
from tools.train_demo.pictures import CONCEPTS
from tools.train_demo.words import Words, coloured_name, read_other_names, words


@pytest.mark.parametrize(("name", "hue"), [("red disc", 1), ("blue disc", 203), ("green box", 150), ("tent", 37)])
def test_the_main_hue_is_that_of_the_fill(name, hue):
    found = main_hue(pixels()[NAMES.index(name)])
    assert found is not None
    assert abs((found - hue + 180) % 360 - 180) < 3


def test_a_white_thing_has_no_main_hue_and_cannot_be_recoloured():
    white = pixels()[NAMES.index("ghostly")]
    assert main_hue(white) is None
    assert colours_for(white) == ()
    with pytest.raises(ValueError, match="without a main hue"):
        recoloured(white, "blue")


@pytest.mark.parametrize("colour", HUES)
def test_a_recoloured_thing_has_the_colour_and_its_shape(colour):
    box = pixels()[NAMES.index("green box")]
    changed = recoloured(box, colour)
    assert abs((main_hue(changed) - HUES[colour] + 180) % 360 - 180) < 3
    assert (changed[..., 3] == box[..., 3]).all()


def test_the_background_shows_where_nothing_is_drawn():
    tent = pixels()[NAMES.index("tent")]
    for background, colour in BACKGROUNDS.items():
        assert np.allclose(on_background(tent, background)[0, 0] * 255, colour)
    assert (on_background(tent)[0, 0] == 1).all()
    assert np.allclose(on_background(tent, "blue")[40, 32] * 255, (255, 176, 46))


def test_a_colour_that_another_thing_is_named_by_is_not_given():
    free = dict(zip(NAMES, allowed_colours(NAMES, pixels()), strict=True))
    assert "blue" not in free["red disc"]  # the blue disc
    assert "purple" in free["red disc"]
    assert "purple" not in free["blue disc"]  # only one disc becomes the purple disc
    assert free["ghostly"] == ()


def test_no_plain_prompt_means_two_pictures_of_the_demo():
    names = CONCEPTS.read_text().splitlines()
    said = words(names, read_other_names(), {})
    prompts = [prompt(variant, said) for variant in all_variants(names, drawings())]
    assert len(set(prompts)) == len(prompts) > 5000


def test_all_captions_name_thing_colour_and_background():
    said = words(NAMES, {"tent": ("canvas",)}, {"tent": ("camp",), "red disc": ("round",)})
    random = np.random.default_rng(0)
    for variant in all_variants(NAMES, pixels()):
        text = caption(variant, said, random)
        name = NAMES[variant.concept]
        assert name.split()[-1] in text or "canvas" in text
        assert variant.colour is None or variant.colour in text
        assert (f"{variant.background} background" in text) or variant.background == "white"


def test_the_plainest_prompt():
    said = words(NAMES, {}, {})
    assert prompt(Variant(3), said) == "tent"
    assert prompt(Variant(0, "pink", "blue"), said) == "pink disc on blue background"
    assert coloured_name("large blue diamond", "red") == "red large diamond"


def test_a_variant_is_rendered_as_it_says():
    tent = NAMES.index("tent")
    both = render(Variant(tent, "blue", "red"), pixels())
    assert np.allclose(both[0, 0] * 255, BACKGROUNDS["red"])
    assert both[40, 32].argmax() == 2


def test_tags_are_no_names_and_no_colours():
    said = words(("tent", "box"), {"box": ("crate",)}, {"tent": ("box", "crate", "red", "camp", "x2")})
    assert said == (Words("tent", (), ("camp",)), Words("box", ("crate",), ()))


def test_a_name_for_two_things_is_refused():
    with pytest.raises(ValueError, match="names of two concepts: box"):
        words(("tent", "box"), {"tent": ("box",)}, {})


def test_other_names_are_of_the_demos_concepts():
    assert set(read_other_names()) <= set(CONCEPTS.read_text().splitlines())
