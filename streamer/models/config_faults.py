"""What the libraries raise where a configuration describes no model that can be built."""

from __future__ import annotations

from huggingface_hub import errors

CONFIG_FAULTS: tuple[type[BaseException], ...] = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError,
    # Newer versions check configurations before anything is built.
    *(getattr(errors, name) for name in ("StrictDataclassError",) if hasattr(errors, name)),
)  # fmt: skip
