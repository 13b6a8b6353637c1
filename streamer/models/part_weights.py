"""The weights of a pipeline's parts other than the U-Net, which have gone by several names over the years."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from streamer.sources.base import WeightSource
from streamer.sources.fit import compare, require, require_real_numbers
from streamer.sources.place import Place, PlaceOf
from streamer.sources.placed import PlacedSource
from streamer.sources.safetensors import SafetensorsSource

_HINT = "Is the model complete? An interrupted download leaves files cut short."


@dataclass(frozen=True)
class PartWeights:
    """Where the weights of a part are.

    Attributes:
        open: opens the files that have them.
        place: of a tensor in these, given its name in diffusers layout.
    """

    open: Callable[[], WeightSource]
    place: PlaceOf = Place

    @staticmethod
    def of_files(files: tuple[Path, ...]) -> PartWeights:
        """In safetensors files in diffusers layout."""
        return PartWeights(lambda: SafetensorsSource(files))


def open_part(weights: PartWeights, module: nn.Module, other_keys: Callable[[str], tuple[str, ...]]) -> WeightSource:
    """A source that gives every parameter of the module, the caller's to close; what else is there is passed over.

    Args:
        weights: of a part of a pipeline.
        module: the part, or one of its own.
        other_keys: under which a parameter may be found in the files, besides its own name.

    Raises:
        WeightsFileError: a file can't be used.
        WeightsMismatchError: a parameter is missing or has another shape.
    """
    expected = {key: tuple(parameter.shape) for key, parameter in module.named_parameters()}
    below = weights.open()
    try:
        given = below.keys()
        places: dict[str, Place] = {}
        for key in expected:
            for name in (*reversed(other_keys(key)), key):
                place = weights.place(name)
                if place is not None and place.key in given:
                    places[key] = place
        source = PlacedSource(below, places)
        fit = compare(source, expected)
        require(source.name, fit, strict=True, hint=_hint(weights, fit.missing, other_keys))
        require_real_numbers(source, expected)
    except BaseException:
        below.close()
        raise
    return source


def _hint(weights: PartWeights, missing: tuple[str, ...], other_keys: Callable[[str], tuple[str, ...]]) -> str:
    """In a file of another layout, what is missing goes by a name that the user doesn't see otherwise."""
    for name in (missing[0], *other_keys(missing[0])) if missing else ():
        place = weights.place(name)
        if place is not None and place.key != name:
            return f"In this file {missing[0]} would be called {place.key}. {_HINT}"
    return _HINT
