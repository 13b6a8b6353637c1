"""Forward hooks that call the engine: a block is acquired before its forward and released after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from streamer.runtime.bind import ModuleBlock
from streamer.runtime.compiling import uncompiled
from streamer.runtime.engine import Engine
from streamer.runtime.retry import retried_once
from streamer.runtime.share import OnForward


class StreamHooks:
    """The hooks of one streamed module. They do nothing but call the engine.

    Args:
        root: the whole module: one forward of it is one step.
        blocks: with the engine's numbering.
        engine: that is called.
        renew_budget: called before each forward of the whole module.
        on_forward: told of the arguments of each forward of the whole module, before that.
    """

    def __init__(
        self,
        root: nn.Module,
        blocks: Sequence[ModuleBlock],
        engine: Engine,
        renew_budget: Callable[[], None],
        on_forward: OnForward | None = None,
    ) -> None:
        self._root = root
        self._handles: list[RemovableHandle] = []
        self._turns = {i: _Turn(engine, i) for i, block in enumerate(blocks) if not block.pinned}
        if on_forward is not None:
            self._handles.append(root.register_forward_pre_hook(_told(on_forward), with_kwargs=True))
        for call in (renew_budget, self._begin_turns, engine.begin_step):
            self._handles.append(root.register_forward_pre_hook(_ignoring(call)))
        for number in self._turns:
            self._handles.extend(self.hook(blocks[number].module, number))
        self._handles.append(root.register_forward_hook(_ignoring(engine.end_step)))
        root.forward = retried_once(root.forward, engine.make_room)

    def hook(self, module: nn.Module, number: int) -> tuple[RemovableHandle, ...]:
        """While this module runs, too, the block's weights are there; the caller removes the hooks.

        Args:
            module: the block's, or one in whose forward the block's lies.
            number: of the block.
        """
        turn = self._turns[number]
        return (
            module.register_forward_pre_hook(uncompiled(turn.begin)),
            # Also when the forward raises: a block that stays in use would block the ring.
            module.register_forward_hook(uncompiled(turn.end), always_call=True),
        )

    def _begin_turns(self) -> None:
        for turn in self._turns.values():
            turn.depth = 0  # an interrupt may have broken one off

    def remove(self) -> None:
        """The module runs without the engine again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._root.__dict__.pop("forward", None)


class _Turn:
    """A block's turn: from the start of the outermost of the modules that need it to its end."""

    def __init__(self, engine: Engine, number: int) -> None:
        self._engine = engine
        self._number = number
        self.depth = 0

    def begin(self, *_: Any) -> None:
        if not self.depth:
            self._engine.acquire(self._number)
        self.depth += 1

    def end(self, *_: Any) -> None:
        self.depth = max(0, self.depth - 1)
        if not self.depth:
            self._engine.release(self._number)


def _told(on_forward: OnForward) -> Callable[..., None]:
    def hook(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        on_forward(args, kwargs)

    return uncompiled(hook)


def _ignoring(call: Callable[[], None]) -> Callable[..., None]:
    def hook(*_: Any) -> None:
        call()

    return uncompiled(hook)
