"""ControlNets, streamed under the pipeline's budget: from a directory, a file or the hub to a module that fits."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel
from torch import nn

from streamer.errors import ModelError, printable
from streamer.models.activations import ActivationMeter
from streamer.models.adapter_file import require_no_pickle
from streamer.models.blocks import find_blocks
from streamer.models.directory import read_json
from streamer.models.hub import HUB_ID, fetch
from streamer.models.parts import PipelineParts
from streamer.models.picture_size import PictureSize
from streamer.models.turns import execution_order, in_order_of_tree
from streamer.models.unet_inputs import StepShape, unet_inputs
from streamer.models.user_path import user_path
from streamer.models.vae import pixels_per_latent
from streamer.models.weight_files import diffusers_files, files_of_folder
from streamer.models.weights import open_file
from streamer.runtime.bind import ModuleBlock
from streamer.runtime.torch_names import tree_leaves
from streamer.sources.base import WeightSource
from streamer.sources.fit import compare, require, require_real_numbers
from streamer.sources.safetensors import SafetensorsSource

_KIND = "ControlNetModel"
_BLOCK_KINDS = ("ResnetBlock2D", "BasicTransformerBlock", "Downsample2D")
_SHARED = ("cross_attention_dim", "block_out_channels", "layers_per_block", "in_channels", "addition_embed_type",
           "projection_class_embeddings_input_dim")  # fmt: skip
"""Where a ControlNet has to be as the U-Net is: what goes from one into the other has these sizes."""
_FILES = (".safetensors", ".lzr2", ".bin", ".pt", ".pth", ".ckpt")
_FILES = (".safetensors", ".lzr2", ".bin", ".pt", ".pth", ".ckpt")
_EMBEDDING = "controlnet_cond_embedding."
_SEEN = "controlnet_cond"
_TEXT_KEY = "attn2.to_k.weight"
_HINT = "A ControlNet for SDXL is needed; those for Stable Diffusion 1.5 (768) and 2 (1024) don't fit."
_CONFIG_FAULTS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)


@dataclass(frozen=True)
class ControlFiles:
    """A ControlNet on this machine.

    Attributes:
        name: what the user called it.
        files: with its weights: safetensors, or one LZR2 file.
        config: of the module; None: that follows from the U-Net's and the file.
    """

    name: str
    files: tuple[Path, ...]
    config: Mapping[str, Any] | None


def find_control(name: str, notify: Callable[[str], None]) -> ControlFiles:
    """The ControlNet's files; from the hub only its configuration and one set of safetensors.

    Args:
        name: a directory with ``config.json``, a safetensors file, or a hub id.
        notify: told of what takes time, a line each.

    Raises:
        ModelError: it is none of these, or can't be fetched.
        WeightsFileError: there are no weights that may be opened.
    """
    path = user_path(name)
    if path.is_file():
        require_no_pickle(path)
        beside = path.parent / "config.json"
        config = read_json(name, beside) if beside.is_file() else {}
        return ControlFiles(name, (path,), _checked(name, config) if config.get("_class_name") == _KIND else None)
    if path.is_dir():
        root = path
    elif HUB_ID.fullmatch(name) and path.suffix.lower() not in _FILES:
        root = fetch(name, _needed, "config.json", "a ControlNet", notify)
    else:
        raise ModelError(
            name,
            "there is no such file or directory.",
            "A ControlNet is a directory with config.json, a safetensors file, or an id such as "
            "diffusers/controlnet-depth-sdxl-1.0.",
        )
    files = diffusers_files(root)
    if not files and any(root.glob("*.bin")) and not any(root.glob("*.safetensors")):
        require_no_pickle(next(root.glob("*.bin")))
    return ControlFiles(name, files or files_of_folder(root), _checked(name, read_json(name, root / "config.json")))


def stream_control(control: ControlFiles, number: int, parts: PipelineParts, dtype: torch.dtype) -> nn.Module:
    """The ControlNet as a module whose weights stream under the budget of the pipeline's parts.

    Args:
        control: its files.
        number: of it among others, from 1.
        parts: of the pipeline; they close it.
        dtype: to compute in.

    Raises:
        ModelError: it wasn't made for this model.
        WeightsFileError: a file can't be used.
        WeightsMismatchError: the weights don't fit.
        BudgetError: the budget can't hold its largest block.
    """
    unet: Any = parts.modules["unet"]
    source = _opened(control.files)
    try:
        config = control.config if control.config is not None else _guessed(control.name, source, unet.config)
        _require_same(control.name, config, unet.config)
        module = _empty(control.name, config)
        expected = {key: tuple(parameter.shape) for key, parameter in module.named_parameters()}
        require(source.name, compare(source, expected), strict=True, hint=_HINT)
        require_real_numbers(source, expected)
        side = 2 ** (len(module.config.conditioning_embedding_out_channels) - 1)
        if side != pixels_per_latent(parts.modules["vae"]):
            raise ModelError(control.name, f"it sees a picture {side} times as wide as a latent, unlike this model.")
    except BaseException:
        source.close()
        raise

    def twin() -> nn.Module:
        return nn.Module.to(_empty(control.name, config), dtype)  # type: ignore[no-any-return]  # not diffusers' own, which warns

    def inputs(size: PictureSize) -> dict[str, Any]:
        shape = StepShape(-(-size.width // side), -(-size.height // side), size.batch)
        seen = torch.empty((size.batch, 3, size.height, size.width), dtype=dtype, device="meta")
        return {**unet_inputs(unet.config, dtype, shape), _SEEN: seen, "return_dict": False}

    def needs(meter: ActivationMeter, size: PictureSize) -> int:
        return meter((), inputs(size))

    @lru_cache(maxsize=16)
    def told(size: PictureSize) -> dict[str, Any]:
        """What it tells the U-Net."""
        with torch.no_grad():
            down, middle = twin()(**inputs(size))
        return {"down_block_additional_residuals": tuple(down), "mid_block_additional_residual": middle}

    def held(size: PictureSize) -> int:
        """What it sees, and what it told the U-Net, which is there while others run."""
        return sum(tensor.numel() * tensor.element_size() for tensor in tree_leaves([told(size), inputs(size)[_SEEN]]))

    blocks = find_blocks(module, _BLOCK_KINDS)
    label = f"ControlNet {number} ({Path(control.name).name})"
    parts.add(label, module, blocks, _order(blocks), source, needs, in_each_step=True)
    parts.hold(held)
    parts.tell_unet("ControlNet", told)  # several add up: the U-Net is told no more than by one
    streamed: nn.Module = module
    return streamed


def _needed(files: Sequence[str]) -> tuple[str, ...]:
    """Of a repository's files the configuration and one set of safetensors, in half precision where there is one."""
    stem = "diffusion_pytorch_model"
    for variant in (r"\.fp16", ""):
        weights = [file for file in files if re.fullmatch(rf"{stem}{variant}(-\d+-of-\d+)?\.safetensors", file)]
        if weights:
            return ("config.json", *weights)
    return ("config.json", *[file for file in files if re.fullmatch(r"[\w.-]+\.safetensors", file)][:1])


def _checked(name: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = config.get("_class_name", _KIND)
    if kind != _KIND:
        raise ModelError(name, f"its config.json says that it is a {kind!a}, not a {_KIND}.", _HINT)
    return config


def _opened(files: Sequence[Path]) -> WeightSource:
    return open_file(files[0], "auto") if len(files) == 1 else SafetensorsSource(files)


def _guessed(name: str, source: WeightSource, unet: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a ControlNet in a file without one: the U-Net's, and what the file's shapes say."""
    keys = source.keys()
    first = f"{_EMBEDDING}conv_in.weight"
    if first not in keys:
        if any(key.startswith(("control_model.", "input_hint_block.", "lora_controlnet")) for key in keys):
            raise ModelError(
                name, "it is a ControlNet in another layout than diffusers'.", "Look for one of diffusers."
            )
        raise ModelError(name, "it is no ControlNet: it has no tensor that sees a picture.", _HINT)
    seen = _shape(name, source, first)
    channels = [seen[0]]
    number = 1
    while (key := f"{_EMBEDDING}blocks.{number}.weight") in keys:
        channels.append(_shape(name, source, key)[0])
        number += 2
    for key in keys:
        if key.endswith(_TEXT_KEY) and (of_text := _shape(name, source, key)[1]) != unet["cross_attention_dim"]:
            raise _other_text(name, of_text, unet["cross_attention_dim"])
    known = inspect.signature(ControlNetModel.__init__).parameters
    config = {key: value for key, value in unet.items() if key in known}
    return config | {
        "_class_name": _KIND,
        "conditioning_embedding_out_channels": channels,
        "conditioning_channels": seen[1],
    }


def _shape(name: str, source: WeightSource, key: str) -> tuple[int, ...]:
    """Of a weight with two dimensions at least."""
    shape = source.info(key).shape
    if len(shape) < 2:
        raise ModelError(name, f"its {printable(key)} has the shape {tuple(shape)}, which no ControlNet's has.", _HINT)
    return tuple(shape)


def _require_same(name: str, config: Mapping[str, Any], unet: Mapping[str, Any]) -> None:
    of_text = config.get("cross_attention_dim")
    if of_text != unet["cross_attention_dim"]:
        raise _other_text(name, of_text, unet["cross_attention_dim"])
    for key in _SHARED:
        mine, its = config.get(key), unet.get(key)
        if _comparable(mine) != _comparable(its):
            raise ModelError(name, f"it was made for another model: its {key} is {mine!a}, the U-Net's {its!a}.", _HINT)


def _comparable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _other_text(name: str, mine: Any, its: Any) -> ModelError:
    return ModelError(
        name,
        f"it was made for another model: its cross_attention_dim (numbers for each word of the prompt) is {mine!a}, "
        f"the U-Net's {its!a}.",
        _HINT,
    )


def _empty(name: str, config: Mapping[str, Any]) -> Any:
    try:
        with torch.device("meta"):
            return ControlNetModel.from_config(dict(config)).eval()
    except _CONFIG_FAULTS as error:
        problem = f"its config.json describes no ControlNet that can be built ({type(error).__name__}: {error})."
        raise ModelError(name, problem) from error


def _order(blocks: Sequence[ModuleBlock]) -> tuple[int, ...]:
    """As a U-Net's way down; what is said to the U-Net comes last."""
    said = [i for i in in_order_of_tree(blocks) if blocks[i].name.startswith("controlnet_")]
    return (*(i for i in execution_order(blocks) if i not in said), *said)
