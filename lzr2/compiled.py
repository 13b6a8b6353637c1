"""How loops are compiled: without the interpreter lock, kept on disk between processes, never numba's own threads."""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import llvmlite.ir  # type: ignore[import-untyped]
import numba
import numba.extending

_F = TypeVar("_F", bound=Callable[..., Any])
OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}


def compiled(function: _F, **options: Any) -> _F:
    """The function as machine code, made at its first call and kept where numba keeps such things.

    numba makes it anew when the file of this function changes, not when that of a function that it calls does: whoever
    edits one deletes `lzr2/__pycache__/*.nb*`.
    """
    try:
        made: _F = numba.njit(cache=True, **OPTIONS, **options)(function)
    except RuntimeError:  # no folder can be written: compile in every process
        made = numba.njit(**OPTIONS, **options)(function)
    return made


def compiled_freely(function: _F) -> _F:
    """As `compiled`, but sums may be taken in any order: for fitting only, never for what decides about bits."""
    return compiled(function, fastmath={"reassoc"})


def inlined(function: _F) -> _F:
    """A piece of compiled code that is written out wherever it is called."""
    made: _F = numba.njit(inline="always", **OPTIONS)(function)
    return made


@numba.extending.intrinsic
def _load_u64(typing_context: Any, address: Any) -> Any:

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], llvmlite.ir.IntType(64).as_pointer())
        value = builder.load(place)
        value.align = 1
        return value

    return numba.types.uint64(numba.types.uint64), generate


@numba.extending.intrinsic
def _store_u16(typing_context: Any, address: Any, value: Any) -> Any:

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], llvmlite.ir.IntType(16).as_pointer())
        builder.store(builder.trunc(arguments[1], llvmlite.ir.IntType(16)), place, align=1)
        return context.get_dummy_value()

    return numba.types.none(numba.types.uint64, numba.types.uint64), generate


load_u64: Any = _load_u64
"""load_u64(address): the eight bytes there, aligned or not; the caller sees to it that they may be read."""

store_u16: Any = _store_u16
"""store_u16(address, value): the value's low two bytes go there; the caller sees to it that they may be written."""
