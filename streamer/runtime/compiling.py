"""Streamed modules under ``torch.compile``: computation is compiled, hooks are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from streamer.runtime.bind import ModuleBlock


def uncompiled(hook: Callable[..., None]) -> Callable[..., None]:
    """The hook, which a compiler passes over: it compiles what comes before and what comes after.

    Args:
        hook: of a module's forward.
    """
    disabled: Callable[..., None] = torch.compiler.disable(hook)
    return disabled


def uncompiled_itself(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which a compiler passes over, but not what it calls."""
    disabled: Callable[..., Any] = torch.compiler.disable(function, recursive=False)
    return disabled


class CompiledBlocks:
    """``compile()`` of a block, and so ``compile_repeated_blocks()`` of its model, compiles what it computes.

    Left to torch it would compile the block's hooks, too, which are no computation: that fails with ``fullgraph=True``.

    Args:
        blocks: of a streamed module.
    """

    def __init__(self, blocks: Sequence[ModuleBlock]) -> None:
        self._modules = [block.module for block in blocks if not block.pinned]
        for module in self._modules:
            module.__dict__["compile"] = _compiling(module)

    def remove(self) -> None:
        """Blocks that aren't compiled yet are compiled as any module; those that are stay so."""
        for module in self._modules:
            module.__dict__.pop("compile", None)


def _compiling(module: Any) -> Callable[..., None]:
    def compile_forward(*args: Any, **kwargs: Any) -> None:
        module.forward = torch.compile(type(module).forward.__get__(module), *args, **kwargs)

    return compile_forward
