"""Stores that go past the caches: for what is written once, in whole lines, and read long after.

An ordinary store to a line that isn't in a cache reads the line first and evicts another: two thirds of what moves is
for nothing. Non-temporal stores write whole lines and read none (docs/decisions/lzr2-past-caches.md).

Other threads may see such stores late. So after the last of them comes a fence: whoever learns of the end from the
thread that wrote sees what it wrote.
"""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import llvmlite.ir  # type: ignore[import-untyped]
import numba
import numba.extending
import numpy as np
import numpy.typing as npt

from lzr2.compiled import compiled

U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
Array = npt.NDArray[Any]

WORTH_NBYTES = 1 << 20
"""From this size on, what is written doesn't stay in a processor's own cache anyway."""

_LINE = np.uintp(64)  # bytes
_LANES = 16  # float32 values of a line
_at = np.uintp
_u16, _u64 = numba.types.uint16, numba.types.uint64
_I32, _HALF, _SINGLE = llvmlite.ir.IntType(32), llvmlite.ir.HalfType(), llvmlite.ir.FloatType()


def _line_at(builder: Any, address: Any, kind: Any) -> Any:
    place = builder.inttoptr(address, llvmlite.ir.VectorType(kind, _LANES).as_pointer())
    value = builder.load(place)
    value.align = 1
    return value


def _store_line(builder: Any, value: Any, address: Any) -> None:
    place = builder.inttoptr(address, value.type.as_pointer())
    stored = builder.store(value, place, align=int(_LINE))
    stored.set_metadata("nontemporal", builder.module.add_metadata([_I32(1)]))


@numba.extending.intrinsic
def _copy_line(typing_context: Any, source: Any, target: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _store_line(builder, _line_at(builder, arguments[0], _I32), arguments[1])
        return context.get_dummy_value()

    return numba.types.none(_u64, _u64), generate


@numba.extending.intrinsic
def _extend_line(typing_context: Any, source: Any, target: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        halves = _line_at(builder, arguments[0], _HALF)
        _store_line(builder, builder.fpext(halves, llvmlite.ir.VectorType(_SINGLE, _LANES)), arguments[1])
        return context.get_dummy_value()

    return numba.types.none(_u64, _u64), generate


@numba.extending.intrinsic
def _extend(typing_context: Any, half: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = builder.bitcast(arguments[0], _HALF)
        return builder.bitcast(builder.fpext(value, _SINGLE), _I32)

    return numba.types.uint32(_u16), generate


@numba.extending.intrinsic
def _fence(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return numba.types.none(), generate


# Called through names without a type: the compiler gives the context itself.
_to_single: Any = _extend
_copied: Any = _copy_line
_extended: Any = _extend_line
fence: Any = _fence
"""fence(): what was stored before is seen by whoever sees what is stored after."""


@compiled
def _before_lines(address: int, itemsize: int, n: int) -> int:
    """How many of n items lie before the first whole line; all of them, if no item begins with a line."""
    nbytes = int((_at(0) - _at(address)) % _LINE)
    return n if nbytes % itemsize else min(n, nbytes // itemsize)


@compiled
def copy(values: Array, out: Array) -> None:
    """out[:] = values, past the caches, with no fence: `fence` once after the last. Both contiguous, of one type."""
    size = values.itemsize
    n = min(values.size, out.size)
    head = _before_lines(out.ctypes.data, size, n)
    if not values.strides[0] == out.strides[0] == size == out.itemsize:
        head = n
    in_line = int(_LINE) // size
    n_lines = (n - head) // in_line
    source, target = _at(values[head:].ctypes.data), _at(out[head:].ctypes.data)
    for i in range(head):
        out[i] = values[i]
    for i in range(n_lines):
        _copied(source + _LINE * _at(i), target + _LINE * _at(i))
    for i in range(head + n_lines * in_line, n):
        out[i] = values[i]


@compiled
def extend(halves: U16, out: U32) -> None:
    """out[i] = the float32 pattern of float16 pattern halves[i], past the caches, by the processor's own instruction.

    Both contiguous. NaNs become quiet. Only where `kernels.CONVERTS_IN_HARDWARE`.
    """
    n = min(halves.size, out.size)
    head = _before_lines(out.ctypes.data, 4, n)
    n_lines = (n - head) // _LANES
    source, target = _at(halves[head:].ctypes.data), _at(out[head:].ctypes.data)
    for i in range(head):
        out[i] = _to_single(halves[i])
    for i in range(n_lines):
        _extended(source + _at(2 * _LANES) * _at(i), target + _LINE * _at(i))
    for i in range(head + n_lines * _LANES, n):
        out[i] = _to_single(halves[i])
    fence()


@compiled
def extend_near(halves: U16, out: U32) -> None:
    """As `extend`, but into the caches: for what is small enough to be found there."""
    for i in range(min(halves.size, out.size)):
        out[i] = _to_single(halves[i])
