"""Forward hooks that call the engine: a block is acquired before its forward and released after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from streamer.errors import EvictedWeightsError
from streamer.runtime.bind import ModuleBlock
from streamer.runtime.engine import Engine
from streamer.runtime.retry import retried_once
from streamer.runtime.share import OnForward


class StreamHooks:
    """The hooks of one streamed module. They do nothing but call the engine.

    Args:
        root: the whole module: one forward of it is one step.
        blocks: with the engine's numbering.
        engine: that is called.
        on_forward: told of the arguments of each forward of the whole module, before it begins.
    """

    def __init__(
        self, root: nn.Module, blocks: Sequence[ModuleBlock], engine: Engine, on_forward: OnForward | None = None
    ) -> None:
        self._root = root
        self._handles = []
        if on_forward is not None:
            self._handles.append(root.register_forward_pre_hook(_told(on_forward), with_kwargs=True))
        self._handles.append(root.register_forward_pre_hook(_ignoring(engine.begin_step)))
        self._handles.append(root.register_state_dict_pre_hook(_no_state_dict))
        for number, block in enumerate(blocks):
            if block.pinned:
                continue
            module = block.module
            self._handles.append(module.register_forward_pre_hook(_with(engine.acquire, number)))
            # Also when the forward raises: a block that stays in use would block the ring.
            self._handles.append(module.register_forward_hook(_with(engine.release, number), always_call=True))
        self._handles.append(root.register_forward_hook(_ignoring(engine.end_step)))
        self._handles.append(root.register_forward_hook(_ignoring(engine.leave_step), always_call=True))
        root.forward = retried_once(root.forward, engine.make_room)

    def remove(self) -> None:
        """The module runs without the engine again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._root.__dict__.pop("forward", None)


def _as_it_is(hook: Callable[..., None]) -> Callable[..., None]:
    """Never traced by torch.compile: what a hook does to parameters must be seen by what is compiled after it."""
    untraced: Callable[..., None] = torch.compiler.disable(hook)
    return untraced


def _with(call: Callable[[int], None], number: int) -> Callable[..., None]:
    def hook(*_: Any) -> None:
        call(number)

    return _as_it_is(hook)


def _told(on_forward: OnForward) -> Callable[..., None]:
    def hook(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        on_forward(args, kwargs)

    return _as_it_is(hook)


def _ignoring(call: Callable[[], None]) -> Callable[..., None]:
    def hook(*_: Any) -> None:
        call()

    return _as_it_is(hook)


def _no_state_dict(*_: Any) -> None:
    raise EvictedWeightsError(
        "The weights of this module are streamed: most of them aren't in memory, so state_dict() and "
        "save_pretrained() can't give them.",
        "Read them from the weight file itself, for example with lzr2.open() or safetensors.",
    )
