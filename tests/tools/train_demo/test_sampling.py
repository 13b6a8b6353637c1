"""Which variants are learned from: kinds by their shares, hard concepts more often."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.tools.train_demo.shapes_drawn import NAMES, pixels
from tools.train_demo.captions import all_variants
from tools.train_demo.sampling import FIRST, KINDS, LATER, Sampler


@pytest.fixture(scope="module")
def variants():
    # Without the white thing, so that each concept has each kind.
    return [variant for variant in all_variants(NAMES, pixels()) if variant.concept in (2, 3)]


def sampler(variants, **options):
    return Sampler(variants, np.ones(len(NAMES)), **options)


@pytest.mark.parametrize(("share", "shares"), [(0.0, FIRST), (0.2, (FIRST + LATER) / 2), (1.0, LATER)])
def test_shapes_come_before_variants(variants, share, shares):
    drawn = sampler(variants, from_nothing=True).draw(20_000, share, np.random.default_rng(0))
    kinds = Counter(variants[i].kind for i in drawn)
    assert [kinds[kind] / 20_000 for kind in KINDS] == pytest.approx(list(shares), abs=0.02)


def test_trained_weights_begin_with_all_kinds(variants):
    drawn = sampler(variants, from_nothing=False).draw(20_000, 0.0, np.random.default_rng(0))
    kinds = Counter(variants[i].kind for i in drawn)
    assert [kinds[kind] / 20_000 for kind in KINDS] == pytest.approx(list(LATER), abs=0.02)


def test_what_is_hard_comes_more_often(variants):
    it = sampler(variants, from_nothing=False)
    for _ in range(50):
        it.note(np.array([2, 3]), np.array([3.0, 1.0]))
    assert it.weights()[[2, 3]] == pytest.approx([1.5, 0.5])
    drawn = it.draw(20_000, 1.0, np.random.default_rng(0))
    assert np.mean([variants[i].concept == 2 for i in drawn]) == pytest.approx(0.75, abs=0.02)


def test_the_same_error_counts_for_more_where_there_is_little_to_draw(variants):
    energy = np.ones(len(NAMES))
    energy[3] = 0.25
    it = Sampler(variants, energy, from_nothing=False)
    it.note(np.array([2, 3]), np.array([1.0, 1.0]))
    assert it.weights()[3] == pytest.approx(2 * it.weights()[2])
