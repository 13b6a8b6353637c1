"""What a process takes of a device's memory, and the cap that keeps it within a budget."""

from __future__ import annotations

import threading

import torch

CONTEXT_NBYTES = 600_000_000
"""What CUDA takes before the first kernel, where can't be measured; 300 to 550 MB is usual, more on large devices."""

KERNELS_NBYTES = 250_000_000
"""Room for kernels, which libraries put on the device when first called: later than the budget is divided."""


def context_nbytes(device: torch.device) -> int:
    """Bytes of the device that this process takes outside of tensors: CUDA's context and its kernels. 0 on a CPU.

    Measured where this process is the device's only one; what others take makes it no more than a large context. The
    kernels are yet to be loaded: see `Context`.
    """
    if device.type != "cuda":
        return 0
    return _context_now_nbytes(device) + KERNELS_NBYTES


def taken_nbytes(device: torch.device) -> int:
    """Bytes of the device that this process has already: tensors, what its allocator keeps, and the context so far."""
    if device.type != "cuda":
        return 0
    return _context_now_nbytes(device) + int(torch.cuda.memory_reserved(device))


def _context_now_nbytes(device: torch.device) -> int:
    return min(_outside_nbytes(device), CONTEXT_NBYTES) or CONTEXT_NBYTES


class Context:
    """As `context_nbytes`, and more if it turns out to grow by more than the room for kernels.

    Args:
        device: of the context.

    Attributes:
        nbytes: that it takes.
    """

    def __init__(self, device: torch.device) -> None:
        self.nbytes = context_nbytes(device)  # first: it makes the context where there was none
        self._device = device
        self._at_first_nbytes = self.nbytes
        self._outside_nbytes = _outside_nbytes(device) if device.type == "cuda" else 0

    def look_again(self) -> bool:
        """Whether it takes more than was known. What others took meanwhile counts, up to a context's size."""
        if self._device.type != "cuda":
            return False
        grown = min(_outside_nbytes(self._device) - self._outside_nbytes, CONTEXT_NBYTES)
        known, self.nbytes = self.nbytes, max(self.nbytes, self._at_first_nbytes - KERNELS_NBYTES + grown)
        return self.nbytes > known


def tensors_nbytes(device: torch.device) -> int:
    """Bytes of all tensors of this process on the device; 0 on a CPU, where nobody counts."""
    return int(torch.cuda.memory_allocated(device)) if device.type == "cuda" else 0


def _outside_nbytes(device: torch.device) -> int:
    free_nbytes, total_nbytes = torch.cuda.mem_get_info(device)
    return max(0, int(total_nbytes) - int(free_nbytes) - int(torch.cuda.memory_reserved(device)))


class Cap:
    """Bytes that tensors may take on a device; an allocation beyond it fails as out of memory. No effect on a CPU.

    So a mistake is an error, and never a silent spill into memory that the device shares with the host. The allocator
    is the whole process's and knows one number: the sum of all caps in force; when the last is lifted, what it was
    before the first.

    Args:
        device: of the tensors.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def set(self, nbytes: int) -> None:
        """This cap is in force from now on.

        Args:
            nbytes: most bytes that torch may reserve for it, context not included.
        """
        if self._device.type == "cuda":
            with _lock:
                _in_force.setdefault(_index(self._device), {})[self] = max(1, nbytes)
                _apply(self._device)

    def lift(self) -> None:
        """It isn't in force any more. Further calls do nothing."""
        if self._device.type == "cuda":
            with _lock:
                if _in_force.get(_index(self._device), {}).pop(self, None) is not None:
                    _apply(self._device)

    @property
    def is_alone(self) -> bool:
        """Whether no other cap is in force on the device."""
        if self._device.type != "cuda":
            return True
        with _lock:
            return not _in_force.get(_index(self._device), {}).keys() - {self}


_lock = threading.RLock()  # of those below, which mirror the allocator's own state
_in_force: dict[int, dict[Cap, int]] = {}  # by device: each cap's bytes
_before: dict[int, float] = {}  # by device: the allocator's fraction without them


def _apply(device: torch.device) -> None:
    index = _index(device)
    if not _in_force[index]:
        torch.cuda.set_per_process_memory_fraction(_before.pop(index), index)
        return
    if index not in _before:
        fraction_now = getattr(torch.cuda, "get_per_process_memory_fraction", None)  # since torch 2.8
        _before[index] = 1.0 if fraction_now is None else float(fraction_now(index))
    total_nbytes = int(torch.cuda.get_device_properties(index).total_memory)
    fraction = sum(_in_force[index].values()) / total_nbytes
    torch.cuda.set_per_process_memory_fraction(min(_before[index], fraction), index)


def _index(device: torch.device) -> int:
    """The device's number, which ``cuda`` alone doesn't say: not every call of torch takes it for the current one."""
    return torch.cuda.current_device() if device.index is None else device.index


class PeakMeter:
    """What the allocator had to reserve between `begin` and `needed_nbytes`; only for CUDA, whose allocator counts.

    torch has one peak for everybody. It is reset at `begin`, so whoever wants to know the highest since the meter was
    made asks it.

    Args:
        device: of the tensors.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before_nbytes = 0
        self._allocated_nbytes = self._reserved_nbytes = 0

    def begin(self) -> None:
        """What is there now doesn't count. Gives unused memory back to the device: not in steady state."""
        self._allocated_nbytes, self._reserved_nbytes = self.most_allocated_nbytes(), self.most_reserved_nbytes()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before_nbytes = int(torch.cuda.memory_allocated(self._device))

    def needed_nbytes(self) -> int:
        """Reserved since `begin`, at the highest, beside the tensors of then: gaps between tensors are in it."""
        return int(torch.cuda.max_memory_reserved(self._device)) - self._before_nbytes

    def most_allocated_nbytes(self) -> int:
        """Of all tensors at one time, since the meter was made or torch's peak was reset last, whichever is earlier."""
        return max(self._allocated_nbytes, int(torch.cuda.max_memory_allocated(self._device)))

    def most_reserved_nbytes(self) -> int:
        """As `most_allocated_nbytes`, with what the allocator keeps beside tensors."""
        return max(self._reserved_nbytes, int(torch.cuda.max_memory_reserved(self._device)))
