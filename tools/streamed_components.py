"""A pytest plugin for diffusers' tests: the U-Nets of their pipelines stream, within the smallest budget that works.

Without the variable STREAMED_COMPONENTS=1 they stay as they are, all else being equal: the hub's tiny tokenizer that
the tests ask for is replaced in both cases, so that no network is needed. Tests with numbers that depend on it fail in
both.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPTokenizer

import streamer

TOKENIZER = "hf-internal-testing/tiny-random-clip"
_WRAPPED = "_gives_streamed_components"
_work = Path(tempfile.mkdtemp(prefix="streamed-components-"))


def pytest_configure() -> None:
    """Puts the tokenizer in place."""
    stand_in = _tokenizer_folder(_work / "tokenizer")
    original = CLIPTokenizer.from_pretrained

    def from_pretrained(name: Any, *args: Any, **kwargs: Any) -> Any:
        return original(str(stand_in) if name == TOKENIZER else name, *args, **kwargs)

    CLIPTokenizer.from_pretrained = from_pretrained


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Wraps what makes the pipelines' parts, once in each class that defines it."""
    if os.environ.get("STREAMED_COMPONENTS") != "1":
        return
    for item in items:
        for owner in getattr(getattr(item, "cls", None), "__mro__", ()):
            made = owner.__dict__.get("get_dummy_components")
            if made is not None and not hasattr(made, _WRAPPED):
                owner.get_dummy_components = _streaming(made)


def pytest_unconfigure() -> None:
    shutil.rmtree(_work, ignore_errors=True)


def _streaming(made: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(made)
    def components(*args: Any, **kwargs: Any) -> Any:
        result = made(*args, **kwargs)
        parts = result[0] if isinstance(result, tuple) else result
        unet = parts.get("unet")
        # A class that adds to its parent's parts gets theirs, whose U-Net streams already.
        if unet is not None and not hasattr(unet, _WRAPPED):
            stream(unet)
            setattr(unet, _WRAPPED, True)
        return result

    setattr(components, _WRAPPED, True)
    return components


def stream(unet: torch.nn.Module) -> streamer.StreamHandle:
    """The module's weights stream from a file of their own, within the smallest budget at each forward."""
    _, name = tempfile.mkstemp(suffix=".safetensors", dir=_work)
    save_file({key: tensor.contiguous() for key, tensor in unet.state_dict().items()}, name)
    handle = streamer.attach(unet, name, device="cpu", dtype=torch.float32)

    def smallest(*_: object) -> None:
        handle.budget = handle.smallest_nbytes

    unet.register_forward_pre_hook(smallest, prepend=True)
    return handle


def _tokenizer_folder(folder: Path) -> Path:
    """A CLIP tokenizer of single bytes, in the files that every version of transformers reads."""
    folder.mkdir()
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
