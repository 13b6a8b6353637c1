"""Reads a little beforehand: on a machine's first run that compiles what each step will call."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch

from streamer.config import StreamSettings
from streamer.models.patience import told_if_slow
from streamer.models.uncollected import uncollected
from streamer.runtime.keeping import may_keep
from streamer.sources.base import WeightSource
from streamer.sources.cast import copy_cast
from streamer.tiers.spill import is_spillable

_ENOUGH = 1 << 16  # weights: of smaller tensors the indices are inflated by other code, which isn't worth compiling


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
        notify: told a line if it takes long, as it does on a machine's first run (about ten seconds); else never.

    Raises:
        StreamerError: a tensor can't be read.
    """
    with uncollected(), told_if_slow(notify, "Compiling the decoder for this processor (once) ..."):
        from lzr2.past_caches import WORTH_NBYTES  # with the compiler, for which the program shouldn't wait earlier

        for key in one_of_each(source, keys, WORTH_NBYTES // dtype.itemsize):
            info = source.info(key)
            out = torch.empty(info.shape, dtype=dtype, device="cpu")
            source.read_into(key, out)
            if may_keep(info, settings):
                source.hold(key).write_into(out)
            if settings.spill_dir is not None and is_spillable(info):
                half = torch.empty(info.shape, dtype=torch.float16, device="cpu")
                source.read_into(key, half)
                copy_cast(out, half)


def one_of_each(source: WeightSource, keys: Collection[str], large: int) -> tuple[str, ...]:
    """A key of each kind of tensor that there is, as small as is typical: held inflated or dense, small or large.

    Args:
        source: of the tensors.
        keys: to choose from.
        large: weights from which on a tensor is written by other loops.
    """
    infos = {key: source.info(key) for key in keys}
    found: list[str] = []
    for inflated in (False, True):
        weights = {key: info.weights for key, info in infos.items() if (info.inflated is not None) is inflated}
        middling = [key for key, n in weights.items() if _ENOUGH <= n < large]
        larger = [key for key, n in weights.items() if n >= large]
        chosen = [min(group, key=weights.__getitem__) for group in (middling, larger) if group]
        if weights and not chosen:
            chosen = [max(weights, key=weights.__getitem__)]
        found.extend(chosen)
    return tuple(found)
