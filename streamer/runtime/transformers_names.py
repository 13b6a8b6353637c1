"""What is known of transformers' inside: the mark of a model into which it has put hooks of its own."""

from __future__ import annotations

HOOKS_ARE_IN = "_output_capturing_hooks_installed"
"""Attribute. With it set, a model expects hooks that collect its hidden states; without, they are put in anew."""
