"""Everything that can go wrong and that a user can act on. Each error carries its facts as fields."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str, most: int = 200) -> str:
    """The text without control characters and lone surrogates, and cut: names from files are strangers' texts."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:most])
    return shown if len(text) <= most else f"{shown}... ({len(text):,} characters)"


class StreamerError(Exception):
    """Base of every error of this package; ``str(error)`` is a message for a person, hint included.

    Args:
        message: what happened, with the facts in it.
        hint: what to do next, or None where the message says it.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\n{hint}")
        self.message = message
        self.hint = hint


class SizeError(StreamerError):
    """A text that should be a size such as 6GB or 5.5GiB is not one."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(
            f"{text!r} is not a size: {reason}.",
            "Write a number with a unit, such as 4GB, 5.5GiB, 800MB or unlimited.",
        )
        self.text = text


class BudgetError(StreamerError):
    """The budget can't hold the largest block; ``smallest_nbytes`` is the smallest that works."""

    def __init__(self, budget_nbytes: int, smallest_nbytes: int, largest_block: str, what: str) -> None:
        super().__init__(
            f"A {what} of {budget_nbytes:,} bytes is too small for this model: its block "
            f"{printable(largest_block)} and what must always stay need {smallest_nbytes:,} bytes.",
            f"The smallest that works is {smallest_size_text(smallest_nbytes)}.",
        )
        self.budget_nbytes = budget_nbytes
        self.smallest_nbytes = smallest_nbytes
        self.largest_block = largest_block


class PartBudgetError(BudgetError):
    """The budget can't hold one part of the pipeline: its largest block and its activations.

    Args:
        budget_nbytes: the whole budget.
        smallest_nbytes: the smallest that works for the part.
        part: what a person calls it.
        activations_nbytes: that it needs beside weights.
    """

    def __init__(self, budget_nbytes: int, smallest_nbytes: int, part: str, activations_nbytes: int) -> None:
        StreamerError.__init__(
            self,
            f"A budget of {budget_nbytes:,} bytes is too small for {printable(part)}: its largest block, what must "
            f"always stay and {activations_nbytes:,} bytes of activations need {smallest_nbytes:,} bytes.",
            f"The smallest that works is {smallest_size_text(smallest_nbytes)}. A smaller picture needs less.",
        )
        self.budget_nbytes = budget_nbytes
        self.smallest_nbytes = smallest_nbytes
        self.largest_block = part
        self.part = part
        self.activations_nbytes = activations_nbytes


def smallest_size_text(nbytes: int) -> str:
    """The size in the unit a person would type, rounded up so that it is really enough."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if nbytes >= factor:
            whole, hundredths = divmod(-(-nbytes * 100 // factor), 100)
            return f"{whole}.{hundredths:02}".rstrip("0").rstrip(".") + unit
    return f"{nbytes}B"


class WeightsMismatchError(StreamerError):
    """The weights and the model disagree; the fields list every key concerned."""

    def __init__(
        self,
        path: str,
        missing: Sequence[str],
        unknown: Sequence[str],
        wrong_shape: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
        hint: str,
    ) -> None:
        parts = [f"The weights in {printable(path)} don't fit this model."]
        if missing:
            parts.append(_listing("The model needs, and nothing gives", list(missing)))
        if wrong_shape:
            rows = [f"{key}: found {_shape(found)}, expected {_shape(want)}" for key, found, want in wrong_shape]
            parts.append(_listing("Of another shape", rows))
        if unknown:
            parts.append(_listing("In the file, but not in the model", list(unknown)))
        super().__init__("\n".join(parts), hint)
        self.path = path
        self.missing = tuple(missing)
        self.unknown = tuple(unknown)
        self.wrong_shape = tuple(wrong_shape)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape) or "scalar"


def _listing(title: str, rows: list[str], most: int = 10) -> str:
    shown = [printable(row) for row in rows[:most]]
    rest = [f"... and {len(rows) - most} more"] if len(rows) > most else []
    return "\n".join([f"{title} ({len(rows)}):", *(f"  {row}" for row in shown + rest)])


class WeightsFileError(StreamerError):
    """A weight file is missing, damaged or of a kind that can't be read; ``path`` says which.

    Args:
        path: of the file.
        problem: in words, the path left out, unless ``located``.
        hint: what to do next.
        located: the problem names the path already.
    """

    def __init__(self, path: str, problem: str, hint: str | None = None, *, located: bool = False) -> None:
        super().__init__(problem if located else f"{printable(path)}: {problem}", hint)
        self.path = path
        self.problem = problem


class ImageFileError(StreamerError):
    """A picture that is to be drawn from can't be read; ``path`` says which."""

    def __init__(self, path: str, problem: str, hint: str | None = None) -> None:
        super().__init__(f"{printable(path)}: {problem}", hint)
        self.path = path


class ModelError(StreamerError):
    """A model directory or hub id can't be used; ``model`` is what was asked for."""

    def __init__(self, model: str, problem: str, hint: str | None = None) -> None:
        super().__init__(f"{printable(model)}: {problem}", hint)
        self.model = model


class DeviceError(StreamerError):
    """The device asked for isn't there."""


class SettingError(StreamerError):
    """A setting has a value that can't work together with the model or the other settings."""


class BenchProcessError(StreamerError):
    """A process that was started to measure something ended before it had; ``problem`` says how."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The process that was to be measured failed: {printable(problem, 1000)}",
            "If memory ran out: smaller budgets, or a smaller picture.",
        )
        self.problem = problem


class NoPictureError(StreamerError):
    """The model's result isn't finite: nothing that could be shown as a picture. ``weights`` names what it ran with."""

    def __init__(self, weights: str) -> None:
        super().__init__(
            f"No picture came out: the result with the weights in {printable(weights)} isn't finite (NaN).",
            "The weights are damaged, or aren't made for this model or this precision.",
        )
        self.weights = weights


class DeviceMemoryError(StreamerError):
    """The device's memory isn't enough even with few weights on it. ``weights_nbytes``: of weights at the last try."""

    def __init__(self, weights_nbytes: int | None, fault: str) -> None:
        tried = (
            "with as few weights on it as can be"
            if weights_nbytes is None
            else f"also with {weights_nbytes / 1e9:.2f} GB of weights on it"
        )
        super().__init__(
            f"The device ran out of memory, {tried}: {printable(fault)}",
            "Draw a smaller picture, use a smaller budget, or close what else uses the device.",
        )
        self.weights_nbytes = weights_nbytes


class SpillError(StreamerError):
    """A spill file can't be used; ``path`` says which. Nothing is lost by it but time."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{printable(path)}: {problem}.")
        self.path = path
        self.problem = problem


class EngineClosedError(StreamerError):
    """A streamed module was called after its weights were let go."""


class BrokenStepError(StreamerError):
    """A block can't run: its weights aren't there, and won't come before the module's next forward."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem, "Run the whole module, from the start.")


class EvictedWeightsError(StreamerError):
    """Weights were asked for as a whole while they are streamed; placeholders are never handed out."""
