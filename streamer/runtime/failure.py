"""What a worker raised, on its way to the compute thread."""

from __future__ import annotations

from streamer.errors import BrokenStepError


class LoadFailure:
    """Told once: kept any longer, its traceback would keep the forward that it was raised in, and all activations.

    Not thread-safe: its user locks.

    Attributes:
        happened: since it was cleared last.
    """

    def __init__(self) -> None:
        self.happened = False
        self._error: BaseException | None = None

    def note(self, error: BaseException) -> None:
        """A worker raised this; the first one counts."""
        if not self.happened:
            self.happened, self._error = True, error

    def told(self) -> BaseException:
        """What was raised; asked again, that there was something."""
        error, self._error = self._error, None
        return error or BrokenStepError("Weights couldn't be loaded earlier in this forward.")

    def clear(self) -> None:
        """All is loaded afresh."""
        self.happened, self._error = False, None
