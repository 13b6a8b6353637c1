"""LoRAs in a pipeline: each tensor of their files is used, or the file is refused with what doesn't fit."""

from __future__ import annotations

import importlib.util
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from torch import nn

from streamer.errors import SettingError, WeightsFileError, WeightsMismatchError
from streamer.models.adapter_file import read_adapter

_PARTS = ("text_encoder_2", "text_encoder", "unet")
_HINT = "Is it a LoRA for this kind of model? Those for Stable Diffusion 1 and 2 or Flux don't fit SDXL."
_HALF = re.compile(r"\.lora_(A|B)\.weight$")
_BESIDE = re.compile(r"\.(lora_magnitude_vector|lora_B\.bias|alpha)(\.weight)?$")
_FAULTS = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, AssertionError, ImportError)


@dataclass(frozen=True)
class LoraFile:
    """A LoRA that the user wants.

    Attributes:
        path: of a safetensors file.
        scale: how much of it is added; below 0 it is taken away.
    """

    path: Path
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale) or abs(self.scale) > 100:
            raise SettingError(f"A scale of {self.scale:g} for {self.path.name} makes no sense.", "0 to 1 is usual.")


@dataclass(frozen=True)
class AppliedLora:
    """A LoRA that a pipeline draws with.

    Attributes:
        name: of its file, without folders.
        sha256: of the file, in hexadecimal digits.
        scale: how much of it is added.
    """

    name: str
    sha256: str
    scale: float

    def settings(self) -> dict[str, Any]:
        """For a picture's metadata."""
        return {"file": self.name, "sha256": self.sha256, "scale": self.scale}


def apply_loras(pipe: Any, files: Sequence[LoraFile]) -> tuple[AppliedLora, ...]:
    """The pipeline draws with these LoRAs, added up, from now on.

    Args:
        pipe: of diffusers, whose parts may be streamed.
        files: each with its scale.

    Raises:
        SettingError: the package that LoRAs need isn't installed.
        WeightsFileError: a file can't be used.
        WeightsMismatchError: a file changes layers that the model doesn't have, or that are of another shape.
    """
    if not files:
        return ()
    if importlib.util.find_spec("peft") is None:
        raise SettingError("LoRAs need the package peft, which isn't installed.", "Install it: pip install peft")
    applied: list[AppliedLora] = []
    names: list[str] = []
    for number, file in enumerate(files):
        name = f"lora_{number}"
        applied.append(_apply(pipe, file, name))
        names.append(name)
    # Each part knows only the adapters that have weights for it: the pipeline's own method does that sorting.
    pipe.set_adapters(names, adapter_weights=[file.scale for file in files])
    return tuple(applied)


def _apply(pipe: Any, file: LoraFile, adapter: str) -> AppliedLora:
    path = file.path
    content = read_adapter(path)
    if path.suffix.lower() != ".safetensors":
        raise WeightsFileError(str(path), "its name doesn't end in .safetensors.", "Rename it: its content is right.")
    if any("dora_scale" in key for key in content.tensors):
        raise WeightsFileError(
            str(path), "it is a DoRA in a layout whose magnitudes can't be read.", "Convert it to the layout of peft."
        )
    try:
        state = pipe.lora_state_dict(dict(content.tensors), unet_config=pipe.unet.config)[0]
    except _FAULTS as error:
        raise WeightsFileError(str(path), f"it isn't a LoRA that can be read ({error}).", _HINT) from error
    try:
        wanted = _require_fitting(path, state, pipe)
    except _FAULTS as error:  # names of layers that diffusers can't place
        raise WeightsFileError(str(path), f"it isn't a LoRA that can be read ({error}).", _HINT) from error
    before = _adapter_tensors(pipe)
    where = {"weight_name": path.name, "use_safetensors": True, "local_files_only": True}
    try:
        parts = [getattr(pipe, part) for part in _PARTS if getattr(pipe, part, None) is not None]
        with _shapes_for_state(parts), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several are meant
            pipe.load_lora_weights(str(path.parent), adapter_name=adapter, **where)
    except torch.OutOfMemoryError:
        raise
    except _FAULTS as error:
        raise WeightsFileError(str(path), f"it can't be added to this model ({error}).", _HINT) from error
    added = {key: tensor for key, tensor in _adapter_tensors(pipe).items() if key not in before}
    if len([key for key in added if ".lora_A." in key or ".lora_B." in key]) < wanted:
        raise WeightsFileError(str(path), f"only {len(added)} of its {wanted} tensors found their layer.", _HINT)
    return AppliedLora(path.name, content.sha256, file.scale)


def _require_fitting(path: Path, state: Mapping[str, torch.Tensor], pipe: Any) -> int:
    """How many pairs' halves the LoRA has; only if each finds its layer, of its shape."""
    unknown = [key for key in state if not key.startswith(tuple(f"{part}." for part in _PARTS))]
    wrong: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []
    halves = 0
    for part in _PARTS:
        for key, tensor in _named_as_peft(state, part).items():
            half = _HALF.search(key)
            if half is None:
                unknown += [] if _BESIDE.search(key) else [f"{part}.{key}"]
                continue
            halves += 1
            layer = _layer(getattr(pipe, part, None), key[: half.start()])
            if layer is None:
                unknown.append(f"{part}.{key}")
                continue
            rows, columns = int(layer.weight.shape[0]), int(layer.weight.shape[1])
            down = half[1] == "A"
            axis, size = (1, columns) if down else (0, rows)
            if tensor.ndim < 2 or int(tensor.shape[axis]) != size:
                rank = int(tensor.shape[1 - axis]) if tensor.ndim > 1 else 1
                wrong.append((f"{part}.{key}", tuple(tensor.shape), (rank, size) if down else (size, rank)))
    if unknown or wrong:
        raise WeightsMismatchError(str(path), (), unknown, wrong, _HINT)
    if not halves:
        raise WeightsFileError(str(path), "it has no tensors of a LoRA.", _HINT)
    return halves


def _named_as_peft(state: Mapping[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    """The tensors of a part, by the names that they will have in it: several ways to write them are in use."""
    own = {key.removeprefix(f"{part}."): tensor for key, tensor in state.items() if key.startswith(f"{part}.")}
    if any(".lora_A." in key for key in own):
        return own
    if part == "unet":
        converted: dict[str, torch.Tensor] = convert_unet_state_dict_to_peft(own)
        return converted
    if own:
        own = convert_state_dict_to_peft(convert_state_dict_to_diffusers(own))
    return own


def _layer(part: nn.Module | None, name: str) -> Any:
    """The layer of this name that has a matrix of weights, as it is without adapters; None: there is none."""
    if part is None:
        return None
    for path in (name, name.removeprefix("text_model."), f"text_model.{name}", f"{name}.0"):
        try:
            layer: Any = part.get_submodule(path)
        except AttributeError:
            continue
        layer = getattr(layer, "base_layer", layer)
        weight = getattr(layer, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.ndim >= 2:
            return layer
    return None


@contextmanager
def _shapes_for_state(parts: Sequence[nn.Module]) -> Iterator[None]:
    """While a LoRA is loaded, a part's state is its tensors' shapes: of a streamed one there is nothing else."""

    def shapes_of(part: nn.Module) -> Callable[..., dict[str, torch.Tensor]]:
        def shapes(*_: Any, **__: Any) -> dict[str, torch.Tensor]:
            tensors = (*part.named_parameters(), *part.named_buffers())
            return {key: torch.empty_like(tensor, device="meta") for key, tensor in tensors}

        return shapes

    for part in parts:
        part.__dict__["state_dict"] = shapes_of(part)
    try:
        yield
    finally:
        for part in parts:
            del part.__dict__["state_dict"]


def _adapter_tensors(pipe: Any) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{key}": parameter
        for part in _PARTS
        if getattr(pipe, part, None) is not None
        for key, parameter in getattr(pipe, part).named_parameters()
        if ".lora_" in key
    }
