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
    """Every tensor of the source, rounded to float16 as `torch.Tensor.to` rounds. Keeps none. Doesn't own the source.

    Thread-safe. Raises as `WeightSource.read_into`.
    """

    def __init__(self, source: WeightSource) -> None:
        self._source = source
        self._keys = tuple(source.keys())

    def __getitem__(self, key: str) -> Half:
        values = torch.empty(self._source.info(key).shape, dtype=torch.float16)
        self._source.read_into(key, values)
        array: Half = values.numpy()
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
