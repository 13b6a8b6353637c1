"""A forward that runs out of device memory is run once more, with fewer weights kept there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from streamer.errors import DeviceMemoryError


def retried_once(forward: Callable[..., Any], make_room: Callable[[], int | None]) -> Callable[..., Any]:
    """The forward; when the device's memory is exhausted, the same call again after room was made, once.

    Without gradients: by the time they were computed, the weights would be others'.

    Args:
        forward: of the streamed module; without side effects.
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
                return forward(*args, **kwargs)
        except torch.OutOfMemoryError as error:
            fault = str(error)
        # Not within the except block: there the fault keeps every frame, and with them the memory, alive.
        weights_nbytes = make_room()
        if weights_nbytes is None:
            raise DeviceMemoryError(None, fault)
        try:
            with torch.no_grad():
                return forward(*args, **kwargs)
        except torch.OutOfMemoryError as error:
            fault = str(error)
        raise DeviceMemoryError(weights_nbytes, fault)

    return forward_again
