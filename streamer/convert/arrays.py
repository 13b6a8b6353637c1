"""A source of weights as a mapping of float16 arrays, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streamer.sources.base import WeightSource

Half = npt.NDArray[np.float16]


class SourceArrays(Mapping[str, Half]):
    """Every tensor of the source, rounded once, to the nearest float16, as numpy's `astype` rounds. Keeps none.

    Thread-safe. Doesn't own the source. Memory: the tensor, and as much as the source takes to read it; a float64 one
    takes 8 bytes a weight more while it is read. Raises as `WeightSource.read_into`.
    """

    def __init__(self, source: WeightSource) -> None:
        self._source = source
        self._keys = tuple(source.keys())

    def __getitem__(self, key: str) -> Half:
        info = self._source.info(key)
        # torch rounds a double to float32 first, and the result again. From every smaller type it rounds once.
        wide = info.dtype == torch.float64
        values = torch.empty(info.shape, dtype=torch.float64 if wide else torch.float16, device="cpu")
        self._source.read_into(key, values)
        with np.errstate(over="ignore"):  # beyond 65,504 is infinite, which whoever asks may count
            array: Half = values.numpy().astype(np.float16, copy=False)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: Any) -> bool:
        return key in self._source.keys()

    def sizes(self) -> dict[str, int]:
        """Bytes of each tensor in float16."""
        return {key: 2 * self._source.info(key).weights for key in self._keys}
