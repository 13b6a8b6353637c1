"""A forward that runs out of device memory is run once more, with fewer weights kept there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from streamer.errors import DeviceMemoryError
from streamer.runtime.torch_names import tree_map


def retried_once(forward: Callable[..., Any], make_room: Callable[[], int | None]) -> Callable[..., Any]:
    """The forward; when the device's memory is exhausted, the same call again after room was made, once.

    A forward may take entries out of the lists and dictionaries that it is given, as a U-Net does with an adapter's
    residuals; the second one gets what the first got.

    Without gradients: by the time they were computed, the weights would be others'.

    Args:
        forward: of the streamed module; without side effects but on its arguments' lists and dictionaries.
        make_room: lets go of weights and begins the step anew; the bytes of weights there may be now, or None if there
            is nothing to let go of.

    Raises:
        DeviceMemoryError: there was nothing to let go of, or it wasn't enough.
    """

    @functools.wraps(forward)
    def forward_again(*args: Any, **kwargs: Any) -> Any:
        fault = ""
        again, named_again = tree_map(_same, (args, kwargs))
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
                return forward(*again, **named_again)
        except torch.OutOfMemoryError as error:
            fault = str(error)
        raise DeviceMemoryError(weights_nbytes, fault)

    return forward_again


def _same(leaf: object) -> object:
    """Of a tree of lists and dictionaries each leaf as it is: the lists and dictionaries become new ones."""
    return leaf
