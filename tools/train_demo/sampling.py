"""Which pictures are learned from next: by kind, and more often those that come out badly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .captions import Variant

KINDS = ("own", "background", "recoloured", "both")
FIRST = np.array([0.7, 0.15, 0.1, 0.05])
"""Shares of the kinds when a U-Net begins from nothing: shapes before variants."""
LATER = np.array([0.3, 0.2, 0.25, 0.25])
"""Shares of the kinds after ``_CHANGED`` of the training, and from the start where the weights are trained already."""
_CHANGED = 0.4
_KEEP = 0.99  # of a concept's mean loss at each new one
_RANGE = (0.5, 3.0)  # a concept's weight, 1 on average


class Sampler:
    """Draws variants.

    Args:
        variants: all.
        energy: [concepts] mean square of each concept's own latent. Errors of white and thin-lined things are small, as
            their latents are, and yet plain to see.
        from_nothing: shapes before variants.
    """

    def __init__(self, variants: Sequence[Variant], energy: np.ndarray, *, from_nothing: bool) -> None:
        self._energy = np.maximum(energy, 1e-6)
        self._losses = np.zeros(len(energy))
        self._seen = np.zeros(len(energy), int)
        self._from_nothing = from_nothing
        self._concepts = np.array([variant.concept for variant in variants])
        self._kinds = np.array([KINDS.index(variant.kind) for variant in variants])
        self._same = np.zeros((len(energy), len(KINDS)))  # variants of a concept and kind
        np.add.at(self._same, (self._concepts, self._kinds), 1)

    def note(self, concepts: np.ndarray, losses: np.ndarray) -> None:
        """Takes in how well concepts are drawn.

        Args:
            concepts: numbers.
            losses: of each, at high noise, where the text decides what is drawn.
        """
        for concept, loss in zip(concepts, losses, strict=True):
            seen = self._seen[concept] = self._seen[concept] + 1
            keep = min(_KEEP, 1 - 1 / seen)
            self._losses[concept] = keep * self._losses[concept] + (1 - keep) * loss

    def weights(self) -> np.ndarray:
        """Of each concept: how often it is drawn, 1 on average before the limits."""
        known = self._seen > 0
        if not known.any():
            return np.ones(len(self._energy))
        # Half the loss itself, half as a share of what there is to draw.
        score = np.where(known, self._losses / np.sqrt(self._energy), 0)
        score[~known] = score[known].mean()
        weights: np.ndarray = np.clip(score / score.mean(), *_RANGE)
        return weights

    def draw(self, count: int, share: float, random: np.random.Generator) -> np.ndarray:
        """Numbers of variants.

        Args:
            count: how many.
            share: of the training that is done, 0 to 1.
            random: the chance.
        """
        changed = min(1.0, share / _CHANGED) if self._from_nothing else 1.0
        kinds = FIRST * (1 - changed) + LATER * changed
        weights = (self.weights()[:, None] * kinds / np.maximum(self._same, 1))[self._concepts, self._kinds]
        return random.choice(len(weights), size=count, p=weights / weights.sum())
