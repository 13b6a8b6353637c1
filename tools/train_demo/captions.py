"""Variants of concepts, and what is said about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .colours import BACKGROUNDS, colours_for, on_background, recoloured
from .words import Words, coloured_name

WHITE_BACKGROUND = "white"
_ARTICLES = 0.1  # share of captions with an article
_OTHER_NAME = 0.25
_TAGS = 0.1
_SAYS_WHITE = 0.05


@dataclass(frozen=True)
class Variant:
    """One picture of a concept.

    Attributes:
        concept: its number.
        colour: what it is recoloured to; None: its own.
        background: ``white`` or a plain one.
    """

    concept: int
    colour: str | None = None
    background: str = WHITE_BACKGROUND

    @property
    def kind(self) -> str:
        """``own``, ``recoloured``, ``background`` or ``both``."""
        if self.colour is None:
            return "own" if self.background == WHITE_BACKGROUND else "background"
        return "recoloured" if self.background == WHITE_BACKGROUND else "both"


def allowed_colours(names: Sequence[str], pictures: np.ndarray) -> list[tuple[str, ...]]:
    """The colours that each concept may be drawn in besides its own, so that no caption means two pictures.

    A concept that has a colour in its name is recoloured only if its family (hearts, circles) has none of that colour,
    and then only the family's first is.

    Args:
        names: of the concepts.
        pictures: [concepts, height, width, 4].
    """
    taken = set(names)
    result = []
    for name, picture in zip(names, pictures, strict=True):
        free = []
        for colour in colours_for(picture):
            called = coloured_name(name, colour)
            if called not in taken:
                free.append(colour)
                taken.add(called)
        result.append(tuple(free))
    return result


def all_variants(names: Sequence[str], pictures: np.ndarray) -> list[Variant]:
    """Every variant of every concept: all its colours on all backgrounds."""
    backgrounds = (WHITE_BACKGROUND, *BACKGROUNDS)
    return [
        Variant(concept, colour, background)
        for concept, colours in enumerate(allowed_colours(names, pictures))
        for colour in (None, *colours)
        for background in backgrounds
    ]


def render(variant: Variant, pictures: np.ndarray) -> np.ndarray:
    """The variant's picture: [height, width, 3], 0 to 1.

    Args:
        variant: which.
        pictures: [concepts, height, width, 4].
    """
    picture = pictures[variant.concept]
    if variant.colour is not None:
        picture = recoloured(picture, variant.colour)
    return on_background(picture, variant.background)


def prompt(variant: Variant, words: Sequence[Words]) -> str:
    """The plainest way to ask for a variant."""
    name = words[variant.concept].name
    if variant.colour is not None:
        name = coloured_name(name, variant.colour)
    return name if variant.background == WHITE_BACKGROUND else f"{name} on {variant.background} background"


def caption(variant: Variant, words: Sequence[Words], random: np.random.Generator) -> str:
    """One of the ways to ask for a variant: under another name, with tags, with articles."""
    mine = words[variant.concept]
    name = mine.name
    if mine.others and random.random() < _OTHER_NAME:
        name = str(random.choice(mine.others))
    if variant.colour is not None:
        name = coloured_name(name, variant.colour)
    if random.random() < _ARTICLES:
        name = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    if mine.tags and random.random() < _TAGS:
        name = f"{name}, {random.choice(mine.tags)}"
    if variant.background != WHITE_BACKGROUND or random.random() < _SAYS_WHITE:
        article = "a " if random.random() < _ARTICLES else ""
        name = f"{name} on {article}{variant.background} background"
    return name
