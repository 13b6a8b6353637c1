"""The way into a streamed module's forward and out of it: one forward at a time, and none that would go wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from streamer.errors import EvictedWeightsError
from streamer.runtime.accelerate_names import is_moved_about
from streamer.runtime.compiling import uncompiled, uncompiled_itself
from streamer.runtime.diffusers_names import is_offloaded_in_groups
from streamer.runtime.gate import Gate
from streamer.runtime.torch_names import CALL, COMPILED_CALL


class Passage:
    """The first and the last hook of a streamed module. Made before the others are; `lead_out` follows them.

    Args:
        root: the whole module.

    Attributes:
        gate: through which each forward goes. May be set, to one that other modules share; not while a forward runs.
    """

    def __init__(self, root: nn.Module) -> None:
        self.gate = Gate()
        self._root = root
        self._guarded_calls: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}  # each with what it guards
        self._handles = [root.register_forward_pre_hook(uncompiled(self._enter))]

    def lead_out(self) -> None:
        """After everything else that a forward does, the next may begin."""
        self._handles.append(self._root.register_forward_hook(uncompiled(self._leave), always_call=True))
        # Around the hooks, too: they wait and can be interrupted, and then torch calls no others. A module that was
        # compiled before has another call, and it is called instead.
        for name in (CALL, COMPILED_CALL):
            call = getattr(self._root, name, None)
            if call is not None:
                self._guarded_calls[name] = self._guarded(call), call
                self._root.__dict__[name] = self._guarded_calls[name][0]

    def remove(self) -> None:
        """The module's forwards pass freely again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for name, (guarded, call) in self._guarded_calls.items():
            if self._root.__dict__.get(name) is guarded:
                del self._root.__dict__[name]
                if name == COMPILED_CALL:
                    self._root.__dict__[name] = call
        self._guarded_calls.clear()  # what was compiled meanwhile calls the guard still, which then guards nothing

    def _enter(self, *_: object) -> None:
        self.gate.enter(self)
        _require_no_offloading(self._root)

    def _leave(self, *_: object) -> None:
        self.gate.leave(self)

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Whatever breaks the call off, others may come in; and autocast keeps no copies of weights.

        What it keeps is outside the budget, and it knows a weight by its parameter: of another weight that comes into
        the same parameter it would give the one before.
        """

        @functools.wraps(call, updated=())  # what a compiler noted about the call isn't so of this
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if not self._guarded_calls:
                return call(*args, **kwargs)
            keeps_copies = torch.is_autocast_cache_enabled()
            try:
                torch.set_autocast_cache_enabled(False)
                return call(*args, **kwargs)
            except BaseException:
                self._leave()
                raise
            finally:
                torch.set_autocast_cache_enabled(keeps_copies)

        return uncompiled_itself(guarded)


def _require_no_offloading(root: nn.Module) -> None:
    for is_offloaded, what, undo in (
        (is_moved_about, "enable_model_cpu_offload() or the like", "Call remove_all_hooks() of the pipeline"),
        (is_offloaded_in_groups, "enable_group_offload()", "Load the model again"),
    ):
        if is_offloaded(root):
            raise EvictedWeightsError(
                f"The weights of this module are streamed, and {what} would move them about as well.",
                f"{undo} and leave it out: a smaller vram_budget does what it is for.",
            )
