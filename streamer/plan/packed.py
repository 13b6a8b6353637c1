"""The packed form of a block: each tensor inflated or dense, whichever is smaller, one after the other. Numbers only.

A block moves packed where that is fewer bytes than dense, and is expanded on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from streamer.plan.alignment import align

_SECTION_ALIGNMENT = 64
_MOST_WEIGHTS = (1 << 31) - 1  # positions of overlay entries are 32-bit numbers with a sign on the device

EXPAND_ROW_NBYTES = 652
"""Of scratch memory that expanding takes for each row: a table of 81 times four values, and where it starts."""

EXPAND_INDEX_NBYTES = 16
"""Of scratch memory that expanding takes for each index."""

LEAST_SCRATCH_NBYTES = 1024
MOST_SCRATCH_NBYTES = 16 << 20
"""With more, a tensor is expanded by so few operations that their number doesn't matter any more."""


@dataclass(frozen=True)
class InflatedSizes:
    """How large an inflated tensor's sections are.

    Attributes:
        rows: of the tensor.
        columns: of the tensor.
        d: weights that an index stands for.
        blocks: indices a row; at most as many as the columns need.
        overlay_count: overlay entries.
    """

    rows: int
    columns: int
    d: int
    blocks: int
    overlay_count: int

    @property
    def weights(self) -> int:
        """How many there are."""
        return self.rows * self.columns

    @cached_property
    def sections(self) -> tuple[tuple[int, int], ...]:
        """First and last byte (exclusive) of indices, levels, overlay positions and overlay values, each aligned."""
        sizes = (
            2 * self.rows * self.blocks,
            2 * self.rows * 3,
            4 * self.overlay_count,
            2 * self.overlay_count,
        )
        spans: list[tuple[int, int]] = []
        start = 0
        for nbytes in sizes:
            spans.append((start, start + nbytes))
            start = align(start + nbytes, _SECTION_ALIGNMENT)
        return tuple(spans)

    @property
    def nbytes(self) -> int:
        """Of all sections, padding between them included."""
        return self.sections[-1][1]


@dataclass(frozen=True)
class PackedPlace:
    """Where one tensor lies within its block's packed form.

    Attributes:
        offset: bytes from the start.
        nbytes: without padding.
        inflated: its sizes; None: it is dense.
    """

    offset: int
    nbytes: int
    inflated: InflatedSizes | None


@dataclass(frozen=True)
class PackedForm:
    """A block in its packed form.

    Attributes:
        places: of its tensors, in the block's order.
        nbytes: of all together, padding included; a multiple of `alignment.ALIGNMENT`.
        saved_nbytes: by which it is smaller than the block in the compute type; above 0.
    """

    places: tuple[PackedPlace, ...]
    nbytes: int
    saved_nbytes: int


def pack(dense: Sequence[int], inflated: Sequence[InflatedSizes | None]) -> PackedForm | None:
    """The packed form, or None if nothing in it is inflated, or it has no fewer bytes than the dense one.

    Args:
        dense: bytes of each tensor of a block in the compute type.
        inflated: its sizes in the inflated form, or None where there is no such form.
    """
    places: list[PackedPlace] = []
    offset = dense_offset = 0
    for nbytes, sizes in zip(dense, inflated, strict=True):
        if sizes is not None and (sizes.nbytes >= nbytes or sizes.weights > _MOST_WEIGHTS):
            sizes = None
        places.append(PackedPlace(offset, nbytes if sizes is None else sizes.nbytes, sizes))
        # Within the packed form nothing is computed with: the lesser alignment saves room.
        offset = align(places[-1].offset + places[-1].nbytes, _SECTION_ALIGNMENT)
        dense_offset = align(dense_offset + nbytes)
    form = PackedForm(tuple(places), align(offset), dense_offset - align(offset))
    return form if form.saved_nbytes > 0 and any(place.inflated for place in places) else None


def scratch_nbytes(largest_nbytes: int) -> int:
    """Bytes of scratch memory for expanding blocks: enough for few operations, and little beside the blocks.

    Args:
        largest_nbytes: of the largest block that is expanded, dense.
    """
    return align(min(max(largest_nbytes // 4, LEAST_SCRATCH_NBYTES), MOST_SCRATCH_NBYTES))
