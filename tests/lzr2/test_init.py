"""The public names are there, and importing them loads neither the compiler nor torch."""

from __future__ import annotations

import subprocess
import sys

import lzr2


def test_public_names() -> None:
    assert all(hasattr(lzr2, name) for name in lzr2.__all__)
    assert {"open", "load_file", "save_file", "Index", "Lzr2Error", "Writer", "verify"} <= set(lzr2.__all__)


def test_importing_is_light() -> None:
    code = "import sys, lzr2; print([m for m in ('numba', 'llvmlite', 'torch') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
