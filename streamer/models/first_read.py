"""Reads a little beforehand: on a machine's first run that compiles what each step will call."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch

from streamer.config import StreamSettings
from streamer.models.patience import told_if_slow
from streamer.runtime.keeping import may_keep
from streamer.sources.base import WeightSource

_ENOUGH = 1 << 18  # weights: smaller tensors are decoded by other code, which isn't worth compiling


def compile_decoders(
    source: WeightSource,
    keys: Collection[str],
    settings: StreamSettings,
    dtype: torch.dtype,
    notify: Callable[[str], None],
) -> None:
    """After this, no step compiles anything to read these tensors.

    Args:
        source: of the tensors.
        keys: of those that will be read.
        settings: say which of them may be kept in host memory.
        dtype: that they will be wanted in.
        notify: told a line if it takes long, as it does on a machine's first run (ten seconds and more); else never.

    Raises:
        StreamerError: a tensor can't be read.
    """
    with told_if_slow(notify, "Compiling the decoder for this processor (once) ..."):
        for key in one_of_each(source, keys):
            info = source.info(key)
            out = torch.empty(info.shape, dtype=dtype)
            source.read_into(key, out)
            if may_keep(info, settings):
                source.hold(key).write_into(out)


def one_of_each(source: WeightSource, keys: Collection[str]) -> tuple[str, ...]:
    """A key of each kind of tensor, of those held inflated and of those held dense: one as small as is typical.

    Args:
        source: of the tensors.
        keys: to choose from.
    """
    infos = {key: source.info(key) for key in keys}
    found = []
    for inflated in (False, True):
        weights = {key: info.weights for key, info in infos.items() if (info.inflated is not None) is inflated}
        if weights:
            large = [key for key, n in weights.items() if n >= _ENOUGH]
            found.append(min(large, key=weights.__getitem__) if large else max(weights, key=weights.__getitem__))
    return tuple(found)
