"""A source whose tensors lie elsewhere in the source below: under other keys, as some of its rows, transposed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch

from streamer.errors import WeightsFileError, printable
from streamer.sources.base import HeldTensor, OnRead, TensorInfo, WeightSource
from streamer.sources.cast import DenseTensor, copy_cast, copy_transposed
from streamer.sources.place import Place


@runtime_checkable
class RowReader(Protocol):
    """A source that reads some rows of a tensor without the others."""

    def read_rows_into(self, key: str, first: int, out: torch.Tensor) -> None:
        """Writes as many rows as ``out`` has, as `WeightSource.read_into` does."""
        ...

    def will_need_rows(self, key: str, first: int, n_rows: int) -> None:
        """As `WeightSource.will_need`, of these rows."""
        ...

    def wont_need_rows(self, key: str, first: int, n_rows: int) -> None:
        """As `WeightSource.wont_need`, of these rows."""
        ...


class PlacedSource:
    """The tensors of the source below from the given places, and no others; values are the same bit for bit.

    Rows of a tensor are read without the others where the source below can (`RowReader`); else, and for transposing,
    the one tensor is in memory meanwhile. Thread-safe. Owns the source below and closes it, but not if this fails.

    Args:
        below: read from.
        places: key here to the place there; nothing is given for those that the source below doesn't have.
        strays: keys there that have no place here but are mentioned, under their own names.

    Raises:
        WeightsFileError: a tensor there is of a shape that can't hold what it should.
    """

    def __init__(self, below: WeightSource, places: Mapping[str, Place], strays: Collection[str] = ()) -> None:
        self._below = below
        self.places = dict(places)
        given = below.keys()
        self._places = {key: place for key, place in places.items() if place.key in given}
        here: dict[str, list[tuple[str, Place]]] = {}
        for key, place in places.items():
            here.setdefault(place.key, []).append((key, place))
        self._mentioned: list[tuple[str, tuple[int, ...]]] = []
        for name, shape in below.mentioned():
            if name in strays:
                self._mentioned.append((name, shape))
            for key, place in here.get(name, ()):
                self._mentioned.append((key, _shape(below.name, place, shape)))

    @property
    def name(self) -> str:
        """Of the source below."""
        return self._below.name

    @property
    def label(self) -> str:
        """Of the source below."""
        return self._below.label

    def keys(self) -> Collection[str]:
        """The keys here."""
        return self._places.keys()

    def mentioned(self) -> Collection[tuple[str, tuple[int, ...]]]:
        """Key here and shape of every tensor that the source below mentions, and the strays."""
        return self._mentioned

    def info(self, key: str) -> TensorInfo:
        """Of the source below where the tensor is as it is there; else of its dense values."""
        place = self._places[key]
        info = self._below.info(place.key)
        if place.whole:
            return info
        shape = _shape(self.name, place, info.shape)
        stored_nbytes = info.stored_nbytes // (place.parts if isinstance(self._below, RowReader) else 1)
        return replace(
            info,
            shape=shape,
            stored_nbytes=stored_nbytes,
            held_nbytes=math.prod(shape) * info.dtype.itemsize,
            inflated=None,
            origin=None,
        )

    def read_into(self, key: str, out: torch.Tensor) -> None:
        """From the source below, straight into ``out`` where the values lie there as they do here."""
        place = self._places[key]
        info = self._below.info(place.key)
        if place.transposed:
            values = torch.empty(tuple(reversed(out.shape)), dtype=info.dtype, device="cpu")
            self._read_rows(place, info, values)
            copy_transposed(out, values)
        else:
            self._read_rows(place, info, out)

    def hold(self, key: str) -> HeldTensor:
        """From the source below where the tensor is as it is there; else dense, in the type of the file."""
        place = self._places[key]
        if place.whole:
            return self._below.hold(place.key)
        info = self.info(key)
        values = torch.empty(info.shape, dtype=info.dtype, device="cpu")
        self.read_into(key, values)
        return DenseTensor(values)

    def will_need(self, key: str) -> None:
        """Passed on."""
        place = self._places[key]
        if place.parts > 1 and isinstance(self._below, RowReader):
            self._below.will_need_rows(place.key, *place.rows(self._below.info(place.key).shape))
        else:
            self._below.will_need(place.key)

    def wont_need(self, key: str) -> None:
        """Passed on."""
        place = self._places[key]
        if place.parts > 1 and isinstance(self._below, RowReader):
            self._below.wont_need_rows(place.key, *place.rows(self._below.info(place.key).shape))
        else:
            self._below.wont_need(place.key)

    def observe_reads(self, on_read: OnRead | None) -> None:
        """Of the source below."""
        self._below.observe_reads(on_read)

    def close(self) -> None:
        """Closes the source below."""
        self._below.close()

    def _read_rows(self, place: Place, info: TensorInfo, out: torch.Tensor) -> None:
        """The values as they lie there."""
        if place.parts == 1:
            self._below.read_into(place.key, out.view(info.shape))
            return
        first, n_rows = place.rows(info.shape)
        out = out.view(n_rows, *info.shape[1:])
        if isinstance(self._below, RowReader):
            self._below.read_rows_into(place.key, first, out)
        else:
            values = torch.empty(info.shape, dtype=info.dtype, device="cpu")
            self._below.read_into(place.key, values)
            copy_cast(out, values.narrow(0, first, n_rows))


def _shape(name: str, place: Place, shape: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return place.shape(shape)
    except ValueError as error:
        found = "x".join(str(n) for n in shape) or "scalar"
        raise WeightsFileError(
            name, f"'{printable(place.key)}' is of shape {found}: {error}", "Is it a checkpoint of SDXL?"
        ) from error
