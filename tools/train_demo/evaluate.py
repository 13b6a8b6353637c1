"""Whether pictures show what was asked for: the demo's own measure, used where it is trained and where it is tested.

A picture is right if what is nearest to it, pixel by pixel, is what was asked for: of all concepts, each in the colour
and on the background asked for, and of all colours and backgrounds of the concept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .captions import WHITE_BACKGROUND, Variant, all_variants, render
from .colours import BACKGROUNDS, colours_for, main_hue
from .sampling import KINDS
from .words import coloured_name


def distance(picture: np.ndarray, other: np.ndarray) -> float:
    """Root mean square difference of all pixels, 0 to 1.

    Args:
        picture: [height, width, 3], 0 to 1.
        other: as ``picture``.
    """
    return float(np.sqrt(np.mean((picture.astype(np.float64) - other) ** 2)))


@dataclass(frozen=True)
class Verdict:
    """What a picture shows.

    Attributes:
        asked: the variant that was asked for.
        concept: the nearest concept in what was asked for: its number.
        look: the nearest colour and background of the concept that was asked for.
        rms: the distance to what was asked for, 0 to 1.
    """

    asked: Variant
    concept: int
    look: Variant
    rms: float

    @property
    def right(self) -> bool:
        """Whether it shows what was asked for."""
        return self.concept == self.asked.concept and self.look == self.asked


def judge(picture: np.ndarray, asked: Variant, names: Sequence[str], pixels: np.ndarray) -> Verdict:
    """Compares a picture with all that it could show.

    Args:
        picture: [height, width, 3], 0 to 1.
        asked: what it should show.
        names: of the concepts.
        pixels: [concepts, height, width, 4], as from ``rasterise``.
    """
    own = distance(picture, render(asked, pixels))
    concepts = {asked.concept: own}
    for other in range(len(names)):
        if not _same_in_colour(names, other, asked):
            concepts[other] = distance(picture, render(_as(asked, other, pixels), pixels))
    looks = {
        look: distance(picture, render(look, pixels))
        for look in (
            Variant(asked.concept, colour, background)
            for colour in (None, *colours_for(pixels[asked.concept]))
            for background in (WHITE_BACKGROUND, *BACKGROUNDS)
        )
    }
    return Verdict(asked, min(concepts, key=concepts.__getitem__), min(looks, key=looks.__getitem__), own)


def _same_in_colour(names: Sequence[str], other: int, asked: Variant) -> bool:
    """A red and a blue circle are the same thing once both are purple."""
    if asked.colour is None:
        return other == asked.concept
    return coloured_name(names[other], asked.colour) == coloured_name(names[asked.concept], asked.colour)


def _as(asked: Variant, concept: int, pixels: np.ndarray) -> Variant:
    """Another concept as it would be in what was asked for; grey things have no other colour."""
    colour = asked.colour if asked.colour is not None and main_hue(pixels[concept]) is not None else None
    return Variant(concept, colour, asked.background)


def questions(names: Sequence[str], pixels: np.ndarray, seed: int, count: int | None) -> list[Variant]:
    """What the evaluation asks for: all concepts as they are, and of each other kind 40 by chance.

    Args:
        names: of the concepts.
        pixels: [concepts, height, width, 4].
        seed: of the chance.
        count: of each kind; None: as said.
    """
    random = np.random.default_rng(seed)
    variants = all_variants(names, pixels)
    result: list[Variant] = []
    for kind in KINDS:
        of_kind = [variant for variant in variants if variant.kind == kind]
        if count is None and kind == "own":
            result += of_kind
        else:
            most = min(len(of_kind), 40 if count is None else count)
            result += [of_kind[i] for i in sorted(random.permutation(len(of_kind))[:most])]
    return result


@dataclass(frozen=True)
class Score:
    """How many of one kind are right.

    Attributes:
        kind: see ``KINDS``.
        asked: how many pictures.
        named: of them, how many have the asked concept as their nearest one.
        right: of them, how many have its colour and background, too.
        rms: their mean distance to what was asked for.
    """

    kind: str
    asked: int
    named: int
    right: int
    rms: float

    @property
    def share(self) -> float:
        """Of those that are right."""
        return self.right / self.asked


def scores(verdicts: Sequence[Verdict]) -> dict[str, Score]:
    """The verdicts by kind, as far as there are some."""
    result = {}
    for kind in KINDS:
        mine = [verdict for verdict in verdicts if verdict.asked.kind == kind]
        if mine:
            rms = float(np.mean([verdict.rms for verdict in mine]))
            named = sum(verdict.concept == verdict.asked.concept for verdict in mine)
            result[kind] = Score(kind, len(mine), named, sum(verdict.right for verdict in mine), rms)
    return result
