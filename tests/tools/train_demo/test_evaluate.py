"""The measure: what was taught is right, anything else isn't."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.tools.train_demo.shapes_drawn import NAMES, pixels
from tools.train_demo.captions import Variant, all_variants, render
from tools.train_demo.evaluate import distance, judge, questions, scores


def test_every_variant_shows_itself_even_with_some_noise():
    random = np.random.default_rng(0)
    drawn = pixels()
    for variant in all_variants(NAMES, drawn)[::7]:
        picture = render(variant, drawn)
        noisy = np.clip(picture + random.normal(0, 0.05, picture.shape), 0, 1)
        verdict = judge(noisy, variant, NAMES, drawn)
        assert verdict.right
        assert 0.02 < verdict.rms < 0.06


@pytest.mark.parametrize(
    ("shown", "concept_right"),
    [
        (Variant(3, "blue", "yellow"), False),  # another thing
        (Variant(2, "pink", "yellow"), True),  # another colour
        (Variant(2, "blue", "green"), True),  # another background
        (Variant(2), True),  # neither
    ],
)
def test_another_thing_colour_or_background_is_wrong(shown, concept_right):
    drawn = pixels()
    asked = Variant(2, "blue", "yellow")
    verdict = judge(render(shown, drawn), asked, NAMES, drawn)
    assert not verdict.right
    if not concept_right:
        assert verdict.concept == shown.concept
    else:
        assert verdict.look == shown


def test_things_that_are_the_same_in_another_colour_are_not_told_apart():
    drawn = pixels()
    asked = Variant(0, "purple")  # a red disc in purple: so would the blue one be
    assert judge(render(asked, drawn), asked, NAMES, drawn).right


def test_the_distance_is_the_root_mean_square():
    black, white = np.zeros((4, 4, 3)), np.ones((4, 4, 3))
    half = black.copy()
    half[:2] = 1
    assert distance(black, white) == 1
    assert distance(half, white) == pytest.approx(0.5**0.5)


def test_all_names_are_asked_for_and_some_of_each_other_kind():
    asked = questions(NAMES, pixels(), 0, None)
    count = Counter(variant.kind for variant in asked)
    assert count["own"] == len(NAMES)
    assert count["background"] == len(NAMES) * 8
    assert count["recoloured"] == min(40, len([v for v in all_variants(NAMES, pixels()) if v.kind == "recoloured"]))
    assert count["both"] == 40
    assert asked == questions(NAMES, pixels(), 0, None)
    assert Counter(variant.kind for variant in questions(NAMES, pixels(), 0, 2)) == dict.fromkeys(count, 2)


def test_scores_count_by_kind():
    drawn = pixels()
    asked = [Variant(0), Variant(1), Variant(3, None, "blue")]
    shown = [Variant(0), Variant(2), Variant(3, None, "blue")]
    verdicts = [judge(render(s, drawn), a, NAMES, drawn) for s, a in zip(shown, asked, strict=True)]
    found = scores(verdicts)
    assert (found["own"].asked, found["own"].named, found["own"].right, found["own"].share) == (2, 1, 1, 0.5)
    assert found["own"].rms == pytest.approx(verdicts[1].rms / 2)
    assert found["background"].right == 1
    assert "both" not in found
