"""A pipeline's parts under one budget: text encoders, U-Net and VAE, each streamed, taking turns on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import PartBudgetError, SettingError
from streamer.models.activations import ActivationMeter
from streamer.models.defaults import Defaults
from streamer.models.directory import ModelDirectory
from streamer.models.text_encoder import empty_text_encoder, stream_text_encoder
from streamer.models.twin import twin_of
from streamer.models.unet import empty_unet, stream_unet
from streamer.models.unet_inputs import TOKENS, StepShape, unet_inputs
from streamer.models.vae import (
    SMALLEST_TILE,
    empty_vae,
    largest_tile,
    load_small_rest,
    pixels_per_latent,
    set_tile,
    stream_vae_half,
)
from streamer.runtime.attach import StreamHandle
from streamer.runtime.guards import Guards
from streamer.runtime.share import OnForward, SharedBudget
from streamer.sources.base import WeightSource
from streamer.tiers.device_memory import PeakMeter, cap, context_nbytes

_TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
_PICTURES = 4  # of the result's size that exist at one time: tiles, rows of tiles, and the picture put together
_MEASURED_MARGIN = 1.05
_PART_NAMES = {
    "text_encoder": "the first text encoder",
    "text_encoder_2": "the second text encoder",
    "unet": "the U-Net",
    "decoder": "the VAE's decoder",
    "encoder": "the VAE's encoder",
}


@dataclass(frozen=True)
class PictureSize:
    """What of a request determines memory.

    Attributes:
        width: pixels.
        height: pixels.
        guided: whether the U-Net computes two pictures at once, as classifier-free guidance needs.
    """

    width: int
    height: int
    guided: bool


class PipelineParts:
    """The modules of a pipeline, streamed under one budget. Owns their weights and workers.

    Whatever pipeline the modules are put into, the budget holds: each forward says what it is about to need, and the
    others make room. For one thread at a time.

    Args:
        model: gives configurations, and the weights of all but the U-Net.
        unet: as `empty_unet` gives it.
        source: of the U-Net's weights; closed with the parts, and if this fails.
        settings: budgets and threads; ``vram_budget_nbytes`` is that of all parts and activations together.
        device: to compute on.
        dtype: to compute in.

    Raises:
        ModelError: a part is missing or damaged.
        WeightsFileError: a part's file can't be used.
        WeightsMismatchError: a part's file doesn't give all its weights.
    """

    def __init__(
        self,
        model: ModelDirectory,
        unet: nn.Module,
        source: WeightSource,
        settings: StreamSettings,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._device = device
        self.workers = settings.workers
        self._context_nbytes = context_nbytes(device)
        self.share = SharedBudget(settings.vram_budget_nbytes, self._context_nbytes)
        self._measured: dict[tuple[str, int], int] = {}
        self._meters: dict[str, ActivationMeter] = {}
        self._revisions: dict[str, int] = {}  # of the adapters that a part's meter knows
        self._handles: dict[str, StreamHandle] = {}
        self.modules: dict[str, nn.Module] = {}
        on_demand = replace(settings, vram_budget_nbytes=UNLIMITED)
        others = replace(on_demand, ram_budget_nbytes=0, hold_only_smaller=False, packed_ram_nbytes=0, spill_dir=None)
        try:
            self._stream_unet(unet, source, on_demand, dtype)
            for part in _TEXT_ENCODERS:
                self._stream_text_encoder(model, part, others, dtype)
            self._stream_vae(model, others, dtype)
        except BaseException:
            source.close()
            self.close()
            raise
        if settings.vram_budget_nbytes < UNLIMITED:
            cap(device, max(1, settings.vram_budget_nbytes - self._context_nbytes))

    @property
    def unet(self) -> StreamHandle:
        """The U-Net's."""
        return self._handles["unet"]

    @property
    def handles(self) -> Mapping[str, StreamHandle]:
        """Of every streamed module, by part."""
        return self._handles

    @property
    def budget_nbytes(self) -> int:
        """Of everything together."""
        return self.share.nbytes

    def prepare(self, size: PictureSize, tile: int | None = None) -> int | None:
        """Makes sure that such a picture can be drawn within the budget, and sets the size of the VAE's tiles.

        Args:
            size: of the picture.
            tile: side of a tile in pixels; 0: decode it whole; None: whole if it fits, else the largest that does.

        Returns the side of the tiles in pixels, or None if the picture is decoded whole.

        Raises:
            SettingError: the tile's side is no multiple of four latents.
            PartBudgetError: it can't; carries the smallest budget with which all parts can.
        """
        vae: Any = self.modules["vae"]
        per_latent = pixels_per_latent(vae)
        width, height = -(-size.width // per_latent), -(-size.height // per_latent)
        self.share.reserved_nbytes = self._context_nbytes + picture_nbytes(size.width, size.height)
        side: int | None
        if tile is not None:
            step = 4 * per_latent
            if tile % step:
                nearest = max(1, round(tile / step)) * step
                raise SettingError(f"VAE tiles of {tile} pixels: they need a multiple of {step}.", f"Try {nearest}.")
            side = tile // per_latent or None
        else:
            ring = 2 * self._handles["decoder"].smallest_nbytes
            room = self.share.room(0) - ring
            fits = self._decoding(width, height) <= room
            side = None if fits else largest_tile(lambda n: self._decoding(n, n), room)
        if side is not None and max(width, height) <= side:
            side = None
        activations = self._check(size, width, height, side, smaller_tiles=tile is None)
        set_tile(vae, side)
        self.share.expect(_PART_NAMES["unet"], activations)
        return None if side is None else side * per_latent

    def prepare_for_default_size(self, defaults: Defaults) -> int | None:
        """As `prepare`, for the model's own size with guidance: what a program that says nothing draws."""
        return self.prepare(PictureSize(defaults.width, defaults.height, guided=defaults.guidance > 1))

    def close(self) -> None:
        """Stops all workers and lets go of all weights. Further calls do nothing."""
        for handle in self._handles.values():
            handle.close()

    def __enter__(self) -> PipelineParts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stream_unet(self, unet: nn.Module, source: WeightSource, settings: StreamSettings, dtype: torch.dtype) -> None:
        on_forward = self._entering("unet", unet)
        self._handles["unet"] = stream_unet(unet, source, settings, self._device, dtype, on_forward)
        self._joined("unet", "unet", unet, unet)

    def _stream_text_encoder(
        self, model: ModelDirectory, part: str, settings: StreamSettings, dtype: torch.dtype
    ) -> None:
        kind = model.part_class(part)
        if kind is None:
            return
        config = model.config(part)
        encoder = empty_text_encoder(kind, config, model.name)
        on_forward = self._entering(part, encoder)
        files = model.part_weights(part)
        self._handles[part] = stream_text_encoder(encoder, files, settings, self._device, dtype, on_forward)
        self._joined(part, part, encoder, encoder)

    def _stream_vae(self, model: ModelDirectory, settings: StreamSettings, dtype: torch.dtype) -> None:
        config = model.config("vae")
        # Where half precision overflows, single is computed with, as the stock pipelines do.
        upcast = dtype == torch.float16 and bool(config.get("force_upcast", True))
        dtype = torch.float32 if upcast else dtype
        self._vae_dtype = dtype
        vae = empty_vae(config, model.name, upcast=upcast)
        files = model.part_weights("vae")
        for half in ("decoder", "encoder"):
            on_forward = self._entering(half, getattr(vae, half))
            self._handles[half] = stream_vae_half(vae, half, files, settings, self._device, dtype, on_forward)
            self._joined(half, "vae", getattr(vae, half), vae)
        load_small_rest(vae, files, self._device, dtype)
        self._vae_guards = Guards(vae, self._device, dtype, keeps_type=True)

    def _entering(self, name: str, module: nn.Module) -> OnForward:
        """What is called before each forward of this part."""
        self._meters[name] = ActivationMeter(lambda: twin_of(module))

        def enter(args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            calculated = self._activations(name, args, kwargs)
            self.share.enter(_PART_NAMES[name], self._measured.get((name, calculated), calculated))
            self._entered = (name, calculated)

        return enter

    def _activations(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> int:
        """Bytes that a forward of this part needs beside weights, with the adapters that it has now."""
        revision = self._handles[name].in_memory_revision
        if self._revisions.setdefault(name, revision) != revision:
            self._revisions[name] = revision
            self._meters[name].forget()
        return self._meters[name](args, kwargs)

    def _joined(self, name: str, part: str, root: nn.Module, module: nn.Module) -> None:
        self.modules[part] = module
        self.share.add(_PART_NAMES[name], self._handles[name])
        if self._device.type == "cuda":
            self._measure(name, root)

    def _measure(self, name: str, root: nn.Module) -> None:
        """From its second forward of a kind on, a part's activations are what the allocator counted in the first."""
        meter = PeakMeter(self._device)

        def begin(*_: object) -> None:  # after the engine's own hook: the slab is there and doesn't count
            meter.begin()

        def end(*_: object) -> None:
            if self._handles[name].ran_short:
                return  # what was counted is the memory that there was
            self._measured.setdefault(self._entered, int(meter.peak_nbytes() * _MEASURED_MARGIN))

        root.register_forward_pre_hook(begin)
        root.register_forward_hook(end)

    def _decoding(self, width: int, height: int) -> int:
        """Bytes of activations for decoding so many latents."""
        vae: Any = self.modules["vae"]
        latents = torch.empty((1, vae.config.latent_channels, height, width), dtype=self._vae_dtype, device="meta")
        return self._activations("decoder", (latents,), {})

    def _check(self, size: PictureSize, width: int, height: int, side: int | None, *, smaller_tiles: bool) -> int:
        """Returns the U-Net's activations only if every part can run."""
        needs = {part: self._encoding(part) for part in _TEXT_ENCODERS if part in self._handles}
        needs["unet"] = self._denoising(width, height, 2 if size.guided else 1)
        if smaller_tiles:
            tile = (min(width, SMALLEST_TILE), min(height, SMALLEST_TILE))
        else:
            tile = (width, height) if side is None else (min(width, side), min(height, side))
        needs["decoder"] = self._decoding(*tile)
        smallest = {part: self.share.smallest(_PART_NAMES[part], needs[part]) for part in needs}
        part = max(smallest, key=lambda part: smallest[part])
        if smallest[part] > self.share.nbytes:
            raise PartBudgetError(self.share.nbytes, smallest[part], _PART_NAMES[part], needs[part])
        return needs["unet"]

    def _encoding(self, part: str) -> int:
        tokens = torch.empty((1, TOKENS), dtype=torch.long, device="meta")
        return self._activations(part, (tokens,), {"output_hidden_states": True})

    def _denoising(self, width: int, height: int, batch: int) -> int:
        unet: Any = self.modules["unet"]
        return self._activations("unet", (), unet_inputs(unet.config, unet.dtype, StepShape(width, height, batch)))


def unet_activations(config: Mapping[str, Any], dtype: torch.dtype, shape: StepShape) -> int:
    """Bytes that a forward of such a U-Net needs beside weights.

    Args:
        config: of the U-Net.
        dtype: to compute in.
        shape: of the latent.
    """
    return ActivationMeter(lambda: nn.Module.to(empty_unet(config), dtype))((), unet_inputs(config, dtype, shape))


def picture_nbytes(width: int, height: int) -> int:
    """Bytes of pictures that exist at one time, in pixels of float32.

    Args:
        width: pixels.
        height: pixels.
    """
    return width * height * 3 * 4 * _PICTURES
