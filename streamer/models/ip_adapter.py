"""An IP-Adapter in a pipeline: a picture as a part of the prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPImageProcessor

from streamer.errors import ModelError, WeightsFileError, WeightsMismatchError
from streamer.models.adapter_file import AdapterFile, read_adapter
from streamer.models.image_encoder import stream_image_encoder
from streamer.models.parts import PipelineParts
from streamer.models.picture_size import PictureSize

_HINT = "An IP-Adapter for SDXL is needed; those for Stable Diffusion 1.5 don't fit."
_GROUPS = ("image_proj", "ip_adapter")
_BESIDE = ("image_encoder", "../image_encoder", "../models/image_encoder", "../sdxl_models/image_encoder")
_FAULTS = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, AssertionError)


@dataclass(frozen=True)
class IpAdapterFile:
    """An IP-Adapter that the user wants.

    Attributes:
        path: of a safetensors file.
        encoder: folder of the image encoder that it was trained with; None: looked for beside the file.
    """

    path: Path
    encoder: Path | None = None


@dataclass(frozen=True)
class AppliedIpAdapter:
    """An IP-Adapter that a pipeline draws with.

    Attributes:
        name: of its file, without folders.
        sha256: of the file, in hexadecimal digits.
        encoder: name of the image encoder's folder.
    """

    name: str
    sha256: str
    encoder: str

    def settings(self) -> dict[str, Any]:
        """For a picture's metadata."""
        return {"file": self.name, "sha256": self.sha256, "encoder": self.encoder}


def apply_ip_adapter(
    pipe: Any,
    wanted: IpAdapterFile,
    parts: PipelineParts,
    device: torch.device,
    dtype: torch.dtype,
    notify: Callable[[str], None],
) -> AppliedIpAdapter:
    """The pipeline sees a picture from now on; its image encoder streams under the budget.

    Args:
        pipe: of diffusers.
        wanted: the adapter's file, and where its image encoder is.
        parts: of the pipeline; they close the image encoder.
        device: to compute on.
        dtype: to compute in.
        notify: told which image encoder is used.

    Raises:
        WeightsFileError: a file can't be used.
        WeightsMismatchError: the adapter doesn't fit the model.
        ModelError: there is no image encoder, or another than the adapter was trained with.
    """
    content = read_adapter(wanted.path)
    groups = _grouped(content)
    _require_fitting(content, groups, pipe.unet)
    folder = _encoder_folder(wanted)
    encoder: Any = stream_image_encoder(folder, parts, device, dtype)
    _require_same_encoder(content.path, groups["image_proj"], encoder, folder)
    notify(f"The image encoder is {folder}")
    side = encoder.config.image_size
    pipe.register_modules(image_encoder=encoder, feature_extractor=CLIPImageProcessor(size=side, crop_size=side))
    try:
        pipe.load_ip_adapter(groups, subfolder="", weight_name=wanted.path.name)
    except torch.OutOfMemoryError:
        raise
    except _FAULTS as error:
        raise WeightsFileError(str(wanted.path), f"it can't be added to this model ({error}).", _HINT) from error
    seen = _seen(groups["image_proj"], encoder)

    def told(size: PictureSize) -> dict[str, Any]:
        picture = torch.empty((size.batch, 1, *seen), dtype=dtype, device="meta")
        return {"added_cond_kwargs": {"image_embeds": [picture]}}

    parts.tell_unet("IP-Adapter", told)
    return AppliedIpAdapter(wanted.path.name, content.sha256, folder.resolve().name)


def _seen(projection: Mapping[str, torch.Tensor], encoder: Any) -> tuple[int, ...]:
    """The shape of what the adapter reads of one picture: a summary, or all that the encoder makes of it."""
    read = _input_size(projection)
    assert read is not None
    name, size = read
    if name == "projection_dim":
        return (size,)
    patches = (encoder.config.image_size // encoder.config.patch_size) ** 2
    return patches + 1, size


def _grouped(content: AdapterFile) -> dict[str, dict[str, torch.Tensor]]:
    groups: dict[str, dict[str, torch.Tensor]] = {group: {} for group in _GROUPS}
    strays = []
    for key, tensor in content.tensors.items():
        group, _, rest = key.partition(".")
        if group in groups:
            groups[group][rest] = tensor
        else:
            strays.append(key)
    if strays or not all(groups.values()):
        raise WeightsMismatchError(
            str(content.path), [f"{group}.*" for group in _GROUPS if not groups[group]], strays, [], _HINT
        )
    return groups


def _require_fitting(content: AdapterFile, groups: Mapping[str, Mapping[str, torch.Tensor]], unet: Any) -> None:
    """Returns only if each layer of the U-Net that reads the prompt gets its two matrices, of its shape."""
    if not _input_size(groups["image_proj"]):
        raise WeightsFileError(
            str(content.path),
            "it is of a kind that isn't supported (Face ID), or damaged: what it makes of a picture isn't known.",
            "Take ip-adapter_sdxl or a plus.",
        )
    expected: dict[str, tuple[int, ...]] = {}
    number = 1  # counts all attentions, of which every second reads the prompt
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            layer = unet.get_submodule(name.removesuffix(".processor"))
            weight = getattr(layer.to_k, "base_layer", layer.to_k).weight
            for matrix in ("to_k_ip", "to_v_ip"):
                expected[f"{number}.{matrix}.weight"] = tuple(weight.shape)
            number += 2
    given = groups["ip_adapter"]
    missing = [f"ip_adapter.{key}" for key in expected if key not in given]
    unknown = [f"ip_adapter.{key}" for key in given if key not in expected and "lora" not in key]
    wrong = [
        (f"ip_adapter.{key}", tuple(given[key].shape), shape)
        for key, shape in expected.items()
        if key in given and tuple(given[key].shape) != shape
    ]
    if missing or unknown or wrong:
        raise WeightsMismatchError(str(content.path), missing, unknown, wrong, _HINT)


def _input_size(projection: Mapping[str, torch.Tensor]) -> tuple[str, int] | None:
    """What of the image encoder the adapter reads, and how many numbers; None: something else."""
    if "proj.weight" in projection and "norm.weight" in projection and "proj.0.weight" not in projection:
        name, reads = "projection_dim", "proj.weight"
    elif "proj_in.weight" in projection and "latents" in projection:
        name, reads = "hidden_size", "proj_in.weight"
    elif "proj.0.weight" in projection and "proj.3.weight" in projection:
        name, reads = "hidden_size", "proj.0.weight"
    else:
        return None
    matrix = projection[reads]
    return (name, int(matrix.shape[1])) if matrix.ndim == 2 else None


def _require_same_encoder(path: Path, projection: Mapping[str, torch.Tensor], encoder: Any, folder: Path) -> None:
    read = _input_size(projection)
    assert read is not None
    name, size = read
    if getattr(encoder.config, name) != size:
        raise ModelError(
            str(folder),
            f"{path.name} was trained with another image encoder: it reads {size} numbers, this one gives "
            f"{getattr(encoder.config, name)}.",
            "Give the right one with --ip-encoder: for names with vit-h that of ViT-H, else that of ViT-bigG.",
        )


def _encoder_folder(wanted: IpAdapterFile) -> Path:
    if wanted.encoder is not None:
        if not wanted.encoder.is_dir():
            raise ModelError(str(wanted.encoder), "there is no such folder.", "Give the image encoder's folder.")
        return wanted.encoder
    # As in the repository from which most come: one for ViT-H, and one for ViT-bigG.
    vit_h_first = "vit-h" in wanted.path.name or "vit_h" in wanted.path.name
    places = ("../models/image_encoder", *_BESIDE) if vit_h_first else _BESIDE
    for place in places:
        folder = wanted.path.absolute().parent / place
        if (folder / "config.json").is_file():
            return folder
    raise ModelError(
        str(wanted.path),
        "no image encoder lies beside it (a folder image_encoder with config.json and model.safetensors).",
        "Give its folder with --ip-encoder.",
    )
