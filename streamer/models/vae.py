"""The VAE, streamed: decoder and encoder each in blocks, and the tiles of a picture."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn

from streamer.config import StreamSettings
from streamer.errors import ModelError
from streamer.models.blocks import find_blocks
from streamer.models.part_weights import PartWeights, open_part
from streamer.models.turns import execution_order
from streamer.runtime.attach import StreamHandle, attach
from streamer.runtime.share import OnForward
from streamer.runtime.state_dict import SHARD
from streamer.runtime.torch_names import own_parameters
from streamer.sources.rounded import RoundedSource

_BLOCK_KINDS = ("ResnetBlock2D", "Attention", "Downsample2D", "Upsample2D")
# Attention's layers had other names in the first years of the library.
_FORMER_NAMES = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}

_STATED_TYPE = "stated_type"

TILE_STEP = 8
"""Latents. A tile's side is a multiple, so that its overlap of a quarter is whole and even."""

SMALLEST_TILE = 32
"""Latents. Smaller tiles see so little of the picture that their colours differ visibly."""

LARGEST_TILE = 512


@dataclass(frozen=True)
class VaeTypes:
    """What a VAE computes in.

    Attributes:
        encoder: and the convolution after it.
        decoder: and the convolution before it.
        weights: that they are rounded to first.
    """

    encoder: torch.dtype
    decoder: torch.dtype
    weights: torch.dtype


def vae_types(config: Mapping[str, Any], dtype: torch.dtype) -> VaeTypes:
    """As stock pipelines cast the VAE: single precision for encoding, and where float16 may overflow for decoding.

    Args:
        config: as in a model directory's ``vae/config.json``.
        dtype: of the pipeline.
    """
    if not config.get("force_upcast", True):
        return VaeTypes(dtype, dtype, dtype)
    decoder = torch.float32 if dtype == torch.float16 else dtype
    return VaeTypes(torch.float32, decoder, dtype)


def empty_vae(config: Mapping[str, Any], name: str) -> AutoencoderKL:
    """A VAE of this configuration whose parameters have shapes and no memory.

    Args:
        config: as in a model directory's ``vae/config.json``.
        name: of the model, for errors.

    Raises:
        ModelError: the configuration makes no sense.
    """
    try:
        with torch.device("meta"):
            vae = AutoencoderKL.from_config(dict(config))
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        problem = f"its vae/config.json describes no VAE that can be built ({type(error).__name__}: {error})."
        raise ModelError(name, problem) from error
    return vae.eval()


@torch.inference_mode(False)
def state_type(vae: AutoencoderKL, dtype: torch.dtype, device: torch.device) -> None:
    """Whoever asks for the VAE's type is told the pipeline's, whatever it computes in: latents are cast to it.

    A VAE's type is that of its first parameter, so it gets one that is empty. A class of its own wouldn't do: pipelines
    made of another's parts take none but `AutoencoderKL`.

    Args:
        vae: as `empty_vae` gives it.
        dtype: of the pipeline.
        device: to compute on.
    """
    vae.register_parameter(_STATED_TYPE, nn.Parameter(torch.empty(0, dtype=dtype, device=device), False))


def stream_vae_half(
    vae: AutoencoderKL,
    half: str,
    weights: PartWeights,
    settings: StreamSettings,
    device: torch.device,
    dtype: torch.dtype,
    on_forward: OnForward,
    rounded: torch.dtype | None = None,
) -> StreamHandle:
    """The VAE's decoder or encoder runs with weights that stream; until then it takes no device memory.

    Args:
        vae: as `empty_vae` gives it.
        half: ``decoder`` or ``encoder``.
        weights: all of the VAE's.
        settings: budgets and threads.
        device: to compute on.
        dtype: to compute in.
        on_forward: told of the arguments before each forward.
        rounded: that weights are rounded to first; None: they are cast at once.

    Raises:
        WeightsFileError: a file can't be used.
        WeightsMismatchError: they aren't all there.
    """
    module: nn.Module = getattr(vae, half)
    source = open_part(weights, module, lambda key: _names(f"{half}.{key}"))
    source = source if rounded is None else RoundedSource(source, rounded)
    blocks = find_blocks(module, _BLOCK_KINDS)
    order = execution_order(blocks)
    _cast_inputs(module, dtype)
    return attach(
        module, blocks, order, source, settings, device, dtype, asleep=True, on_forward=on_forward, keeps_type=True
    )


def save_with_halves(vae: AutoencoderKL, halves: Sequence[StreamHandle]) -> None:
    """``save_pretrained`` of the VAE writes what its streamed halves read, in float32 where they compute in it.

    Args:
        vae: with a stated type.
        halves: its decoder's handle and its encoder's.
    """
    save = vae.save_pretrained

    @functools.wraps(save)  # pipelines look at the signature
    def save_pretrained(*args: Any, **kwargs: Any) -> Any:
        with contextlib.ExitStack() as stack:
            for half in halves:
                stack.enter_context(half.while_saving())
            return save(*args, **{"max_shard_size": SHARD, **kwargs})

    vae.__dict__["save_pretrained"] = save_pretrained
    vae.register_state_dict_post_hook(_without_stated_type)


def _without_stated_type(_: nn.Module, state: dict[str, Any], prefix: str, __: object) -> None:
    state.pop(f"{prefix}{_STATED_TYPE}", None)


def _cast_inputs(module: nn.Module, dtype: torch.dtype) -> None:
    """What the module is given in another type is cast: a half-precision pipeline's VAE computes in float32."""

    def cast(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(a.to(dtype) if isinstance(a, torch.Tensor) else a for a in args)

    module.register_forward_pre_hook(cast)


@torch.inference_mode(False)  # they outlast it
def load_small_rest(vae: AutoencoderKL, weights: PartWeights, device: torch.device, types: VaeTypes) -> None:
    """Gives the two 1x1 convolutions between latents and halves their weights; they always stay on the device.

    Args:
        vae: as `empty_vae` gives it.
        weights: all of the VAE's.
        device: to compute on.
        types: to compute in.

    Raises:
        WeightsFileError: a file can't be used.
        WeightsMismatchError: they aren't all there.
    """
    for name, dtype in (("quant_conv", types.encoder), ("post_quant_conv", types.decoder)):
        conv = getattr(vae, name)
        if conv is None:
            continue
        _cast_inputs(conv, dtype)
        source = open_part(weights, conv, lambda key, name=name: (f"{name}.{key}",))  # type: ignore[misc]
        try:
            for key, empty in tuple(conv.named_parameters()):
                values = torch.empty(empty.shape, dtype=types.weights, device="cpu")
                source.read_into(key, values)
                own_parameters(conv)[key] = nn.Parameter(values.to(device, dtype), requires_grad=empty.requires_grad)
        finally:
            source.close()


def _names(key: str) -> tuple[str, ...]:
    former = key
    for now, then in _FORMER_NAMES.items():
        former = former.replace(now, then)
    return (key, former)


def pixels_per_latent(vae: AutoencoderKL) -> int:
    """How many pixels a latent is wide."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def largest_tile(nbytes_of: Callable[[int], int], room_nbytes: int) -> int:
    """The side in latents of the largest square whose decoding fits, a multiple of `TILE_STEP`; at least the smallest.

    Args:
        nbytes_of: side in latents to bytes that decoding such a square needs; grows with the side.
        room_nbytes: for it.
    """
    low, high = SMALLEST_TILE // TILE_STEP, LARGEST_TILE // TILE_STEP
    while low < high:
        middle = (low + high + 1) // 2
        if nbytes_of(middle * TILE_STEP) <= room_nbytes:
            low = middle
        else:
            high = middle - 1
    return low * TILE_STEP


def set_tile(vae: AutoencoderKL, side: int | None) -> None:
    """Larger pictures than this are decoded and encoded in overlapping tiles.

    Args:
        vae: of the pipeline.
        side: of a tile, in latents, a multiple of 4; None: every picture whole.
    """
    vae.use_tiling = side is not None
    if side is not None:
        vae.tile_latent_min_size = side
        vae.tile_sample_min_size = side * pixels_per_latent(vae)


def tile_in_use(vae: AutoencoderKL, width: int, height: int) -> int | None:
    """The side in pixels of the tiles in which a picture of this size is decoded; None: whole."""
    if not vae.use_tiling or max(width, height) <= vae.tile_sample_min_size:
        return None
    return int(vae.tile_sample_min_size)
