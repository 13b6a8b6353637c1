"""How much memory a forward needs beside weights, told before it runs."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from streamer.runtime.torch_names import TorchDispatchMode, storage_id, tree_leaves, tree_map

_MARGIN = 1.1
"""Kernels have workspaces of their own, which no shape tells."""

_REMEMBERED = 64

_CONVOLUTION = torch.ops.aten.convolution.default

_MAPPED_NBYTES = 32 << 20
"""What is larger glibc gives back to the system as soon as it is freed, if the environment sets no other limit.

Its own limit moves, up to this (64 bits). Source: M_MMAP_THRESHOLD, mallopt(3).
"""


class ActivationMeter:
    """Most bytes of results that take memory at one time in a forward of these arguments, and a margin for workspaces.

    Found by running a copy of the module that has shapes and no memory (torch's meta device), once for each kind of
    argument; a second or less with SDXL's U-Net. Attention is taken not to write its scores out, as with every kernel
    that torch chooses for it, but where a program has replaced what computes it. Thread-safe.

    Args:
        make_twin: gives the copy, in the type that is computed in, when it is first needed.
        structure: of the module, told anew for each forward: where it has changed (an adapter was loaded, attention is
            computed by something else), another copy is made.
        name: of the module, for a warning.
        on_processor: it computes there, where a convolution copies what it is given, and the C library keeps the room
            of smaller results for others.
    """

    def __init__(
        self,
        make_twin: Callable[[], nn.Module],
        structure: Callable[[], object] = lambda: None,
        name: str = "the module",
        *,
        on_processor: bool = False,
    ) -> None:
        self._make_twin = make_twin
        self._name = name
        self._structure = structure
        self._on_processor = on_processor
        self._copied: object = None  # the structure that the twin has
        self._twin: nn.Module | None = None
        self._known: dict[tuple[tuple[int, ...], ...], int | None] = {}  # None: can't be calculated
        self._most = 0
        self._lock = threading.Lock()

    def __call__(self, args: tuple[object, ...], kwargs: dict[str, object]) -> int:
        """Bytes for a forward with tensors of these shapes; their values don't matter.

        Arguments with which the copy can't be run (it would have to know values) are taken to need what the most
        expensive ones so far needed; a `UserWarning` tells where there were none before.
        """
        shapes = (leaf.shape for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor))
        kind = tuple(sorted(tuple(shape) for shape in shapes if shape))  # however they are passed
        with self._lock:
            if (now := self._structure()) != self._copied:
                self._copied, self._twin = now, None
                self._known.clear()
            if kind not in self._known:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[kind] = self._run(args, kwargs)
            nbytes = self._known[kind]
            if nbytes is None:
                return self._most
            self._most = max(self._most, nbytes)
            return nbytes

    def _run(self, args: tuple[object, ...], kwargs: dict[str, object]) -> int | None:
        empty_args, empty_kwargs = tree_map(_shape_only, (args, kwargs))
        try:
            if self._twin is None:
                self._twin = self._make_twin()
            return int(_peak_nbytes(self._twin, empty_args, empty_kwargs, self._on_processor) * _MARGIN)
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, NotImplementedError) as error:
            if not self._most:
                reason = f"{type(error).__name__}: {error}".partition("\n")[0]
                warnings.warn(
                    f"What {self._name} needs for such arguments beside its weights can't be calculated ({reason}): "
                    "the budget holds for its weights alone. Leave some room, with a smaller budget.",
                    UserWarning,
                    stacklevel=2,
                )
            return None


def _shape_only(leaf: object) -> object:
    return torch.empty(leaf.shape, dtype=leaf.dtype, device="meta") if isinstance(leaf, torch.Tensor) else leaf


def _peak_nbytes(twin: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], on_processor: bool) -> int:
    weights = {storage_id(tensor.untyped_storage()) for tensor in (*twin.parameters(), *twin.buffers())}
    with torch.no_grad(), _FusedAttention(), _LiveResults(weights, on_processor) as live:
        twin(*args, **kwargs)
    return int(live.peak_nbytes)


class _FusedAttention(TorchFunctionMode):
    """Attention whose result appears without its scores: without a device torch would choose the kernel with them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention:
            query, value = args[0], args[2] if len(args) > 2 else kwargs["value"]
            return query.new_empty((*query.shape[:-1], value.shape[-1]))
        return func(*args, **(kwargs or {}))


class _LiveResults(TorchDispatchMode):
    """Adds up the memory of results that are still referred to."""

    def __init__(self, weights: set[int], on_processor: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._on_processor = on_processor
        self._most_in_heap = self._most_mapped = 0
        self._weights = weights
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    @property
    def peak_nbytes(self) -> int:
        """The most at one time; on a processor of those that a heap has, and of the others, each at its own time.

        For what was freed in a heap stays the process's, unless it lies at the heap's end. Counted too much where it
        does, or where a C library has no heap of that kind.
        """
        return self._most_in_heap + self._most_mapped

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for gone in [place for place, (storage, _) in self._live.items() if storage.expired()]:
            del self._live[gone]
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                if (place := storage_id(storage)) not in self._weights:
                    self._live.setdefault(place, (StorageWeakRef(storage), storage.nbytes()))
        copied = _copied_nbytes(*args[:2]) if self._on_processor and func is _CONVOLUTION else ()
        sizes = (*copied, *(nbytes for _, nbytes in self._live.values()))
        in_heap = sum(nbytes for nbytes in sizes if self._on_processor and nbytes < _MAPPED_NBYTES)
        self._most_in_heap = max(self._most_in_heap, in_heap)
        self._most_mapped = max(self._most_mapped, sum(sizes) - in_heap)
        return result


def _copied_nbytes(values: torch.Tensor, weight: torch.Tensor) -> tuple[int, ...]:
    """What a convolution on a processor needs until it is done, in another order of its values.

    With oneDNN both, as large as they are; without it the values that each result is made of, next to each other. The
    tests measure both.
    """
    if torch.backends.mkldnn.is_available():
        return values.nbytes, weight.nbytes
    window = math.prod(weight.shape[2:])
    return (values.nbytes * window,) if window > 1 else ()
