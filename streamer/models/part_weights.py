"""The weights of a pipeline's parts other than the U-Net, which have gone by several names over the years."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from streamer.sources.base import WeightSource
from streamer.sources.fit import compare, require, require_real_numbers
from streamer.sources.renamed import RenamedSource
from streamer.sources.safetensors import SafetensorsSource

_HINT = "Is the model complete? An interrupted download leaves files cut short."


def open_part(files: tuple[Path, ...], module: nn.Module, other_keys: Callable[[str], tuple[str, ...]]) -> WeightSource:
    """A source that gives every parameter of the module, the caller's to close; what else is there is passed over.

    Args:
        files: safetensors.
        module: a part of a pipeline.
        other_keys: under which a parameter may be found in the files, besides its own name.

    Raises:
        WeightsFileError: a file can't be used.
        WeightsMismatchError: a parameter is missing or has another shape.
    """
    expected = {key: tuple(parameter.shape) for key, parameter in module.named_parameters()}
    below = SafetensorsSource(files)
    try:
        given = below.keys()
        names = {key: name for key in expected for name in (*reversed(other_keys(key)), key) if name in given}
        source = RenamedSource(below, names)
        fit = compare(source, expected)
        require(source.name, fit, strict=True, hint=_HINT)
        require_real_numbers(source, expected)
    except BaseException:
        below.close()
        raise
    return source
