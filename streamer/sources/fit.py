"""Whether a source fits a model: every tensor there, of the right shape, and nothing unknown passed over silently."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from streamer.errors import WeightsFileError, WeightsMismatchError, printable
from streamer.sources.base import WeightSource


@dataclass(frozen=True)
class Fit:
    """How a source and a model differ.

    Attributes:
        missing: keys that the model has and the source doesn't give.
        unknown: keys that the source names, with values or without, and the model doesn't have.
        wrong_shape: key, shape found, shape expected.
    """

    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    wrong_shape: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    @property
    def exact(self) -> bool:
        """Whether nothing differs."""
        return not (self.missing or self.unknown or self.wrong_shape)


def compare(source: WeightSource, expected: Mapping[str, tuple[int, ...]]) -> Fit:
    """Every difference between what the source gives and what the model expects (key to shape), in a stable order."""
    given = source.keys()
    mentioned = list(dict.fromkeys(source.mentioned()))  # a file may name one key twice
    return Fit(
        missing=tuple(key for key in expected if key not in given),
        unknown=tuple(dict.fromkeys(key for key, _ in mentioned if key not in expected)),
        wrong_shape=tuple(
            (key, shape, expected[key]) for key, shape in mentioned if key in expected and shape != expected[key]
        ),
    )


def require(path: str, fit: Fit, *, strict: bool, hint: str) -> None:
    """Returns only if the model can be run with these weights.

    Args:
        path: of the weights, for the message.
        fit: what `compare` found.
        strict: unknown tensors and other shapes are errors too; otherwise only what leaves the model without values.
        hint: what to do about it.

    Raises:
        WeightsMismatchError: they can't, or ``strict`` and something differs.
    """
    if fit.missing or (strict and not fit.exact):
        raise WeightsMismatchError(path, fit.missing, fit.unknown, fit.wrong_shape, hint)


def require_real_numbers(source: WeightSource, keys: Collection[str]) -> None:
    """Returns only if these tensors hold floating-point numbers.

    Args:
        source: that has them.
        keys: of the tensors.

    Raises:
        WeightsFileError: some hold whole numbers; whatever they stand for isn't known here.
    """
    whole = [key for key in keys if not source.info(key).dtype.is_floating_point]
    if whole:
        raise WeightsFileError(
            source.name,
            f"{len(whole)} tensors hold whole numbers ({source.info(whole[0]).dtype}), {printable(whole[0])} for one: "
            "these are quantised weights, which mean nothing without their scales",
            "Give weights in float32, float16, bfloat16 or float8.",
        )
