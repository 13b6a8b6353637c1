"""A forward that runs out of device memory is run once more, with fewer weights kept there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map

from streamer.errors import DeviceMemoryError


def retried_once(forward: Callable[..., Any], make_room: Callable[[], int | None]) -> Callable[..., Any]:
    """The forward; when the device's memory is exhausted, the same call again after room was made, once.

    Without gradients: by the time they were computed, the weights would be others'.

    Args:
        forward: of the streamed module; without side effects but on lists and dicts that it is given, of which each
            call gets copies: a U-Net empties the list of a T2I-Adapter's results.
        make_room: lets go of weights and begins the step anew; the bytes of weights there may be now, or None if there
            is nothing to let go of.

    Raises:
        DeviceMemoryError: there was nothing to let go of, or it wasn't enough.
    """

    @functools.wraps(forward)
    def forward_again(*args: Any, **kwargs: Any) -> Any:
        fault = ""
        try:
            with torch.no_grad():
                return _with_copies(forward, args, kwargs)
        except torch.OutOfMemoryError as error:
            fault = str(error)
        # Not within the except block: there the fault keeps every frame, and with them the memory, alive.
        weights_nbytes = make_room()
        if weights_nbytes is None:
            raise DeviceMemoryError(None, fault)
        try:
            with torch.no_grad():
                return _with_copies(forward, args, kwargs)
        except torch.OutOfMemoryError as error:
            fault = str(error)
        raise DeviceMemoryError(weights_nbytes, fault)

    return forward_again


def _with_copies(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The forward with lists and dicts of its own, of the same tensors."""
    args, kwargs = tree_map(lambda leaf: leaf, (args, kwargs))
    return forward(*args, **kwargs)
