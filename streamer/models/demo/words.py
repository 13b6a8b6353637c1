"""What the demo understands of a prompt, and what comes near to what it doesn't."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest

from streamer.models.demo.files import demo_concepts, demo_other_names

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "white")
"""Of things and of the plain backgrounds behind them; nothing is recoloured to black or white."""
_FILLERS = frozenset(["a", "an", "and", "at", "background", "in", "of", "on", "picture", "the", "with"])
_MOST = 3  # suggestions
_NEAR = 0.75  # share of two words that is alike
_WORD = re.compile(r"[\w'-]+")


@dataclass(frozen=True)
class NotUnderstood:
    """Of a prompt that the demo can't draw, or not all of.

    Attributes:
        words: those that mean nothing to it; all of the prompt's where none of its things is named.
        near: prompts that it can draw and that come near; may be empty.
    """

    words: tuple[str, ...]
    near: tuple[str, ...]

    def text(self) -> str:
        """One line for the user."""
        what = ", ".join(f'"{word}"' for word in self.words)
        *most, last = (f'"{name}"' for name in self.near) if self.near else ("",)
        meant = f" Did you mean {', '.join(most)}{' or ' if most else ''}{last}?" if self.near else ""
        count = len(demo_concepts())
        return (
            f"The demo doesn't know {what}.{meant} It draws {count} things, which streamer gen --demo-prompts lists; "
            "SDXL draws anything."
        )


def not_understood(prompt: str) -> NotUnderstood | None:
    """What the demo doesn't know of a prompt; None if it is only of things, colours and backgrounds that it was taught.

    Args:
        prompt: what shall be drawn.
    """
    said = _WORD.findall(prompt.lower())
    names = _names()
    left = [word for word in said if word not in _FILLERS]
    rest, found = _without_names(left, names)
    unknown = [word for word in rest if word not in COLOURS and word not in _words_of(found)]
    if not left or (found and not unknown):
        return None
    words = tuple(dict.fromkeys(unknown if found else [word for word in left if word not in COLOURS] or left))
    return NotUnderstood(words, _near(words, names))


@cache
def _names() -> Mapping[tuple[str, ...], str]:
    """A prompt for each name, by its words; things whose name has a colour go without it too."""
    names: dict[tuple[str, ...], str] = {}
    others = demo_other_names()
    for concept in demo_concepts():
        for name in (concept, *others.get(concept, ())):
            names.setdefault(_words(name), name)
    for concept in demo_concepts():
        names.setdefault(tuple(word for word in _words(concept) if word not in COLOURS), concept)
    return names


def _words(name: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(name))


def _without_names(words: list[str], names: Mapping[tuple[str, ...], str]) -> tuple[list[str], list[str]]:
    """The words that are in no name, and the names that were found: the longest at each place."""
    # Names are compared as prompts are read: without the words that fill.
    keys = {tuple(word for word in key if word not in _FILLERS): name for key, name in names.items()}
    longest = max(map(len, keys))
    rest, found, at = [], [], 0
    while at < len(words):
        for length in range(min(longest, len(words) - at), 0, -1):
            name = keys.get(tuple(words[at : at + length]))
            if name is not None:
                found.append(name)
                at += length
                break
        else:
            rest.append(words[at])
            at += 1
    return rest, found


def _words_of(names: list[str]) -> set[str]:
    return {word for name in names for word in _words(name)}


def _near(words: tuple[str, ...], names: Mapping[tuple[str, ...], str]) -> tuple[str, ...]:
    """Names that look like all of the words, then those with a word that looks like one of them."""
    whole = {" ".join(key): name for key, name in names.items()}
    near = [whole[text] for text in difflib.get_close_matches(" ".join(words), whole, _MOST, _NEAR)]
    by_word: dict[str, list[str]] = {}
    for key, name in sorted(names.items(), key=lambda item: len(item[0])):
        for word in key:
            if word not in _FILLERS and word not in COLOURS:
                by_word.setdefault(word, []).append(name)
    alike = [difflib.get_close_matches(word, by_word, 1, _NEAR) for word in words]
    by_each = [by_word[match] for matches in alike for match in matches]
    for some in zip_longest(*by_each):  # the best for each word first
        near += [name for name in some if name is not None]
    return tuple(dict.fromkeys(near))[:_MOST]
