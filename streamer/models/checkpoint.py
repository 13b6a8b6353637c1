"""A single-file checkpoint's own text encoders and VAE."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from streamer.config import ReadMethod
from streamer.errors import WeightsFileError
from streamer.models.part_weights import PartWeights
from streamer.models.weights import open_file
from streamer.sources.original_layout import other_model, part_places

# Tensors that some fine-tunes carry to say how they were trained; a model's scheduler has to be set accordingly.
_MARKS = {
    "v_pred": "it predicts velocity, not noise: it needs a model whose scheduler has the prediction type v_prediction",
    "edm_mean": "it was trained with another noise (EDM): it needs a model with the scheduler made for that",
}


def own_parts(paths: Collection[Path], io: ReadMethod, warn: Callable[[str], None]) -> dict[str, PartWeights]:
    """The parts that checkpoints in the original layout have beside the U-Net, by a pipeline's names.

    Args:
        paths: of weight files of any kind, those that count most first.
        io: how to read.
        warn: told of what a checkpoint says about itself and a pipeline doesn't know, a line each.

    Raises:
        WeightsFileError: a file can't be used, or isn't of SDXL.
    """
    found: dict[str, PartWeights] = {}
    for path in paths:
        keys = _keys(path, io)
        for mark, meaning in _MARKS.items():
            if mark in keys:
                warn(f"{path.name} says ({mark}) that {meaning}.")
        for part, place in part_places(keys).items():
            found.setdefault(part, PartWeights(partial(open_file, path, io), place))
    return found


def _keys(path: Path, io: ReadMethod) -> Collection[str]:
    source = open_file(path, io)
    try:
        keys = frozenset(source.keys())
        found = other_model(keys)
        if found is not None:
            raise WeightsFileError(source.name, f"it holds {found}.", "Give the weights of an SDXL model.")
        return keys
    finally:
        source.close()
