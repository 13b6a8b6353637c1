"""What a forward really holds at one time: every result of every operation, slabs included."""

from __future__ import annotations

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Most bytes of storages that were made within it and lived at one time, on the thread that entered it."""

    def __init__(self) -> None:
        super().__init__()
        self.peak_nbytes = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if _is_real(leaf)}
        result = func(*args, **(kwargs or {}))
        self._live = {place: entry for place, entry in self._live.items() if not entry[0].expired()}
        for leaf in tree_leaves(result):
            if _is_real(leaf) and leaf.untyped_storage()._cdata not in before:
                storage = leaf.untyped_storage()
                self._live.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self.peak_nbytes = max(self.peak_nbytes, sum(nbytes for _, nbytes in self._live.values()))
        return result


def _is_real(leaf: object) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.device.type != "meta"
