"""What concepts are called: names, other names, and words that go with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .colours import BACKGROUNDS, HUES
from .fetch import NAMES, fetch, read_json

COLOUR_WORDS = frozenset(HUES) | frozenset(BACKGROUNDS) | {"white"}
OTHER_NAMES = Path(__file__).parent / "other_names.txt"
_MOST_TAGS = 6  # of one concept
_OTHER_LABELS = {"t-rex": "T-Rex"}
_PLAIN = re.compile(r"[a-z]{3,}(?: [a-z]+)*")


@dataclass(frozen=True)
class Words:
    """How one concept is spoken of.

    Attributes:
        name: the concept's own.
        others: other names that mean it and none of the other concepts.
        tags: words that go with it and may go with others.
    """

    name: str
    others: tuple[str, ...]
    tags: tuple[str, ...]


def read_other_names(path: Path = OTHER_NAMES) -> dict[str, tuple[str, ...]]:
    """Other names by concept.

    Args:
        path: of a file with a line ``name: other, other`` for each concept that has some.
    """
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    pairs = [line.split(": ", 1) for line in lines]
    return {name: tuple(others.split(", ")) for name, others in pairs}


def fetch_words(concepts: Sequence[str], folder: Path) -> tuple[Words, ...]:
    """The words of each concept, in the order given. Raises FetchError."""
    entries = {entry["label"].lower(): entry for entry in read_json(fetch(NAMES, folder), "en/data.json")}
    tags = {concept: entries.get(_OTHER_LABELS.get(concept, concept).lower(), {}) for concept in concepts}
    return words(concepts, read_other_names(), {concept: entry.get("tags", ()) for concept, entry in tags.items()})


def fetch_labels(folder: Path) -> tuple[str, ...]:
    """The names of all emoji, those too that the demo doesn't draw. Raises FetchError."""
    return tuple(entry["label"].lower() for entry in read_json(fetch(NAMES, folder), "en/data.json"))


def words(
    concepts: Sequence[str], others: Mapping[str, Sequence[str]], tags: Mapping[str, Sequence[str]]
) -> tuple[Words, ...]:
    """Puts them together; of the tags only plain words that are nobody's name and no colour.

    Args:
        concepts: names.
        others: other names of some concepts.
        tags: words that go with some concepts.

    Raises:
        ValueError: one name means two concepts.
    """
    names = [*concepts, *(other for concept in concepts for other in others.get(concept, ()))]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"names of two concepts: {', '.join(sorted(twice))}")
    taken = {*names, *COLOUR_WORDS, *(word for name in names for word in name.split())}
    return tuple(
        Words(
            concept,
            tuple(others.get(concept, ())),
            tuple(tag for tag in tags.get(concept, ()) if _PLAIN.fullmatch(tag) and tag not in taken)[:_MOST_TAGS],
        )
        for concept in concepts
    )


def coloured_name(concept: str, colour: str) -> str:
    """What a thing is called in another colour: a red circle in purple is a purple circle."""
    rest = [word for word in concept.split() if word not in COLOUR_WORDS]
    return " ".join([colour, *rest])
