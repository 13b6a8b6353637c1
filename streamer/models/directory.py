"""Where a model's parts come from: a directory in diffusers layout, or a hub id (only what is needed is fetched)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamer.errors import ModelError
from streamer.models.hub import HUB_ID, fetch
from streamer.models.part_weights import PartWeights
from streamer.models.user_path import user_path
from streamer.models.weight_files import DIFFUSERS_STEM, diffusers_files

_WEIGHT_STEMS = {"text_encoder": "model", "text_encoder_2": "model", "vae": DIFFUSERS_STEM}
_STEMS = {**_WEIGHT_STEMS, "unet": DIFFUSERS_STEM}
_SMALL_FILES = re.compile(
    r"(model_index|streamer)\.json"
    r"|(scheduler|tokenizer|tokenizer_2)/[\w.-]+\.(json|txt|model)"
    r"|(text_encoder|text_encoder_2|vae|unet)/config\.json",
    re.ASCII,
)
_PIPELINES = "StableDiffusionXL"  # how the names of all its pipelines begin
_CONFIG_LIMIT = 10_000_000  # bytes; real ones have a few thousand

PARTS = tuple(_STEMS)
"""Of a pipeline, those that have weights."""


@dataclass(frozen=True)
class ModelDirectory:
    """A pipeline on this machine, in diffusers layout.

    Attributes:
        name: what the user called it.
        root: the directory.
        variant: of the weight files ("fp16": ``model.fp16.safetensors``), or None for the plain ones.
        own: weights of parts that come from elsewhere, by part; the directory's are not used.
    """

    name: str
    root: Path
    variant: str | None
    own: Mapping[str, PartWeights] = field(default_factory=dict)

    def config(self, part: str) -> dict[str, Any]:
        """The part's configuration.

        Args:
            part: such as ``unet``; its ``config.json`` is read.

        Raises:
            ModelError: there is none, or it is no JSON object.
        """
        return read_json(self.name, self.root / part / "config.json")

    def unet_files(self) -> tuple[Path, ...]:
        """The safetensors files of the model's own U-Net, plain ones first choice; empty if it isn't there."""
        return diffusers_files(self.root / "unet")

    def part_weights(self, part: str) -> PartWeights:
        """The weights of the text encoders or the VAE.

        Raises:
            ModelError: there are none.
        """
        return self.own[part] if part in self.own else PartWeights.of_files(self.part_files(part))

    def part_files(self, part: str) -> tuple[Path, ...]:
        """The directory's safetensors files of the text encoders or the VAE, plain ones first choice.

        Raises:
            ModelError: there are none.
        """
        files = diffusers_files(self.root / part, _WEIGHT_STEMS[part])
        if not files:
            raise ModelError(self.name, f"its {part} has no weights in safetensors.", "Was its download interrupted?")
        return files

    def part_class(self, part: str) -> str | None:
        """The name of the part's class, as in ``model_index.json``; None if the pipeline does without the part.

        Raises:
            ModelError: the index makes no sense.
        """
        entry = read_json(self.name, self.root / "model_index.json").get(part)
        if not isinstance(entry, list) or len(entry) != 2:
            raise ModelError(self.name, f"its model_index.json says {entry!a} of {part}.", "Is the model complete?")
        return entry[1] if isinstance(entry[1], str) else None


def is_model(name: str | Path) -> bool:
    """Whether this is a model directory in diffusers layout or, where there is no such path, looks like a hub id."""
    path = user_path(name)
    if path.exists():
        return (path / "model_index.json").is_file()
    return HUB_ID.fullmatch(str(name)) is not None and path.suffix not in (".safetensors", ".lzr2")


def find_model(
    model: str,
    *,
    with_unet: bool,
    notify: Callable[[str], None],
    with_rest: bool = True,
    own: Mapping[str, PartWeights] | None = None,
) -> ModelDirectory:
    """The model's directory; from the hub, everything but the U-Net's weights unless they are asked for.

    Args:
        model: a directory, or a hub id such as ``stabilityai/stable-diffusion-xl-base-1.0``.
        with_unet: also fetch the model's own U-Net weights.
        notify: told of what takes time, a line each.
        with_rest: also fetch the weights of everything else.
        own: weights of parts that come from elsewhere; those of the model are not fetched.

    Raises:
        ModelError: it is neither, isn't an SDXL pipeline, or can't be fetched.
    """
    path = user_path(model)
    if path.is_dir():
        root = path
    elif path.exists():
        raise ModelError(
            model,
            "this is a file, not a model directory.",
            "Give a weight file with --weights, a directory with --model.",
        )
    elif HUB_ID.fullmatch(model):
        parts = [part for part in _WEIGHT_STEMS if with_rest and part not in (own or {})]
        root = _fetch(model, parts + ["unet"] * with_unet, notify)
    else:
        raise ModelError(
            model,
            "there is no such directory, and it isn't a hub id either.",
            "A model is a directory in diffusers layout (with model_index.json), or an id such as "
            "stabilityai/stable-diffusion-xl-base-1.0.",
        )
    if not (root / "model_index.json").is_file():
        raise ModelError(model, "it has no model_index.json.", "A model is a directory in diffusers layout.")
    kind = read_json(model, root / "model_index.json").get("_class_name", _PIPELINES)
    if not isinstance(kind, str) or not kind.startswith(_PIPELINES):
        raise ModelError(model, f"its pipeline is {kind!a}.", "Models of Stable Diffusion XL can be drawn with.")
    return ModelDirectory(model, root, _variant(root), own or {})


def _variant(root: Path) -> str | None:
    """Half precision if a part has it and not the plain weights; parts without it are loaded plain all the same."""
    for part, stem in _WEIGHT_STEMS.items():
        plain = [*(root / part).glob(f"{stem}.safetensors"), *(root / part).glob(f"{stem}-*.safetensors")]
        if not plain and any((root / part).glob(f"{stem}.fp16*.safetensors")):
            return "fp16"
    return None


def _fetch(model: str, parts: Sequence[str], notify: Callable[[str], None]) -> Path:
    """The snapshot's directory in the hub's cache, with the weights of these parts; without a network, what it has."""
    return fetch(model, lambda files: choose_files(files, parts), "model_index.json", _left_out(parts), notify)


def _left_out(parts: Sequence[str]) -> str:
    """What is not fetched, in words."""
    if not any(part in _WEIGHT_STEMS for part in parts):
        return "no weights" if "unet" not in parts else "only the U-Net's weights"
    return "with its U-Net's weights" if "unet" in parts else "its U-Net's weights left out"


def choose_files(files: Sequence[str], parts: Collection[str] = PARTS) -> tuple[str, ...]:
    """Of a repository's files those that a pipeline needs: configurations, vocabularies, one set of safetensors.

    Half-precision weights are taken where there are any: the same after rounding, and half the download.

    Args:
        files: paths in the repository.
        parts: whose weights are needed, of `PARTS`.
    """
    chosen = [file for file in files if _SMALL_FILES.fullmatch(file)]
    for part, stem in _STEMS.items():
        if part not in parts:
            continue
        for variant in (r"\.fp16", ""):
            weights = re.compile(rf"{part}/{stem}{variant}(-\d+-of-\d+)?\.safetensors")
            index = re.compile(rf"{part}/{stem}({variant}\.safetensors\.index|\.safetensors\.index{variant})\.json")
            matches = [file for file in files if weights.fullmatch(file)]
            if matches:
                chosen.extend([*matches, *(file for file in files if index.fullmatch(file))])
                break
    return tuple(chosen)


def read_json(model: str, path: Path) -> dict[str, Any]:
    """The JSON object in the file.

    Args:
        model: what the user called what it belongs to, for errors.
        path: of the file.

    Raises:
        ModelError: there is none.
    """
    try:
        if path.stat().st_size > _CONFIG_LIMIT:
            raise ModelError(model, f"{path.name} has more than {_CONFIG_LIMIT:,} bytes.")
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelError(model, f"{path} is missing.", "Is the model complete?") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(model, f"{path} can't be read ({error}).") from error
    if not isinstance(content, dict):
        raise ModelError(model, f"{path} isn't a JSON object.")
    return content
