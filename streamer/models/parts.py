"""A pipeline's parts under one budget: text encoders, U-Net and VAE, each streamed, taking turns on the device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import PartBudgetError, SettingError
from streamer.models.activations import ActivationMeter
from streamer.models.defaults import Defaults
from streamer.models.directory import ModelDirectory
from streamer.models.picture_size import BytesOf, PictureSize, picture_nbytes
from streamer.models.portions import Wants, portions
from streamer.models.sharing import Sharing
from streamer.models.text_encoder import empty_text_encoder, stream_text_encoder
from streamer.models.unet import stream_unet
from streamer.models.unet_inputs import TOKENS, StepShape, unet_inputs
from streamer.models.vae import (
    SMALLEST_TILE,
    empty_vae,
    largest_tile,
    load_small_rest,
    pixels_per_latent,
    save_with_halves,
    set_tile,
    state_type,
    stream_vae_half,
    vae_types,
)
from streamer.runtime.attach import StreamHandle, attach
from streamer.runtime.bind import ModuleBlock
from streamer.runtime.guards import Guards
from streamer.runtime.share import SharedBudget
from streamer.sources.base import WeightSource
from streamer.sources.closing import close_after_failure, close_all
from streamer.tiers.device_memory import Cap, Context, PeakMeter, tensors_nbytes

_TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
_PART_NAMES = {
    "text_encoder": "the first text encoder",
    "text_encoder_2": "the second text encoder",
    "unet": "the U-Net",
    "decoder": "the VAE's decoder",
    "encoder": "the VAE's encoder",
}


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
        share: another pipeline's budget on the same device, which these parts then share; None: one of their own.

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
        share: SharedBudget | None = None,
    ) -> None:
        self._device = device
        self._dtype = dtype
        self.workers = settings.workers
        self._context = Context(device)
        self._cap = Cap(device)
        # The budget is the whole process's: what it has on the device already is part of it. What other pipelines have
        # is within their own.
        self._others_nbytes = tensors_nbytes(device) if self._cap.is_alone else 0
        self._is_shared = share is not None
        self.share = share if share is not None else SharedBudget(settings.vram_budget_nbytes)
        self._reserve()
        self._peaks = PeakMeter(device)
        self._members: dict[str, Sharing] = {}
        self._handles: dict[str, StreamHandle] = {}
        self._needs: dict[str, BytesOf] = {}
        self._held: list[BytesOf] = []
        self._in_each_step = ["unet"]
        self._told_to_unet: dict[str, Callable[[PictureSize], dict[str, Any]]] = {}
        self.modules: dict[str, nn.Module] = {}
        on_demand = replace(settings, vram_budget_nbytes=UNLIMITED)
        others = replace(on_demand, ram_budget_nbytes=0, hold_only_smaller=False, packed_ram_nbytes=0, spill_dir=None)
        self._settings = others
        try:
            self._stream_unet(unet, source, on_demand, dtype)
            for part in _TEXT_ENCODERS:
                self._stream_text_encoder(model, part, others, dtype)
            self._stream_vae(model, others, dtype)
        except BaseException:
            close_after_failure(source.close, self.close)
            raise
        self._set_cap()
        weakref.finalize(self, self._cap.lift)

    @property
    def unet(self) -> StreamHandle:
        """The U-Net's."""
        return self._handles["unet"]

    @property
    def handles(self) -> Mapping[str, StreamHandle]:
        """Of every streamed module, by part."""
        return self._handles

    @property
    def device(self) -> torch.device:
        """That all parts compute on."""
        return self._device

    def activations(self, part: str) -> ActivationMeter:
        """What a forward of this part needs beside weights, by its arguments."""
        return self._members[part].activations

    @property
    def budget_nbytes(self) -> int:
        """Of everything together. May be set; it holds from the next forward of any part on."""
        return self.share.nbytes

    @budget_nbytes.setter
    def budget_nbytes(self, nbytes: int) -> None:
        """From the next forward of any part on."""
        self.share.nbytes = nbytes
        self._set_cap()

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
        held = sum(nbytes_of(size) for nbytes_of in self._held)
        self.share.reserve(self, picture_nbytes(size.width, size.height) + held)
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

            def needed(width: int, height: int) -> int:
                decoding = self._decoding(width, height)
                return max(decoding, self._encoding_picture(width, height)) if size.encoded else decoding

            fits = needed(width, height) <= room
            side = None if fits else largest_tile(lambda n: needed(n, n), room)
        if side is not None and max(width, height) <= side:
            side = None
        activations = self._check(size, width, height, side, smaller_tiles=tile is None)
        set_tile(vae, side)
        self.share.expect(self._members["unet"].name, activations)
        return None if side is None else side * per_latent

    def add(
        self,
        name: str,
        module: nn.Module,
        blocks: Sequence[ModuleBlock],
        order: Sequence[int],
        source: WeightSource,
        needs: Callable[[ActivationMeter, PictureSize], int],
        *,
        in_each_step: bool = False,
    ) -> StreamHandle:
        """Another module streams under the same budget; it is closed with the parts.

        Args:
            name: what a person calls it, unlike any other's.
            module: without memory (torch's meta device) or with weights, which it loses.
            blocks: a partition of its parameters.
            order: the turns of one forward, as far as known.
            source: of its weights; closed with the parts, and if this fails.
            needs: bytes of activations for a picture, given what tells them from a forward's arguments.
            in_each_step: it runs in turn with the U-Net, so that they divide the room for weights.

        Raises:
            BudgetError: the budget can't hold its largest block.
        """
        sharing = self._sharing(name, module)
        handle = attach(
            module,
            blocks,
            order,
            source,
            self._settings,
            self._device,
            self._dtype,
            asleep=True,
            on_forward=sharing.on_forward,
        )
        self._handles[name] = handle
        self._joined(name, name, module, module)
        self._needs[name] = lambda size: needs(sharing.activations, size)
        self._in_each_step += [name] * in_each_step
        return handle

    def tell_unet(self, who: str, arguments: Callable[[PictureSize], dict[str, Any]]) -> None:
        """Besides its usual arguments the U-Net gets these, as from a ControlNet; dictionaries are added to its own.

        Args:
            who: gives them; of the same name the last counts.
            arguments: of shapes alone (torch's meta device), for a picture.
        """
        self._told_to_unet[who] = arguments

    def hold(self, nbytes_of: BytesOf) -> None:
        """Of the budget, so many bytes are for something that is always on the device: adapters, other pictures.

        Holds from the next `prepare` on.
        """
        self._held.append(nbytes_of)

    def prepare_for_default_size(self, defaults: Defaults) -> int | None:
        """As `prepare`, for the model's own size with guidance: what a program that says nothing draws."""
        return self.prepare(PictureSize(defaults.width, defaults.height, guided=defaults.guidance > 1))

    def device_peak_nbytes(self) -> tuple[int, int] | None:
        """The most memory of tensors on the device, and the most that torch had reserved for them; None on a CPU.

        Of the whole process, since torch's own count was reset by somebody else; measuring here resets it too.
        """
        if self._device.type != "cuda":
            return None
        return self._peaks.most_allocated_nbytes(), self._peaks.most_reserved_nbytes()

    def close(self) -> None:
        """Stops all workers, lets go of all weights and lifts the cap. Further calls do nothing."""
        close_all(*(handle.close for handle in self._handles.values()), self._cap.lift)

    def __enter__(self) -> PipelineParts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stream_unet(self, unet: nn.Module, source: WeightSource, settings: StreamSettings, dtype: torch.dtype) -> None:
        on_forward = self._sharing("unet", unet).on_forward
        self._handles["unet"] = stream_unet(unet, source, settings, self._device, dtype, on_forward)
        self._joined("unet", "unet", unet, unet)

    def _stream_text_encoder(
        self, model: ModelDirectory, part: str, settings: StreamSettings, dtype: torch.dtype
    ) -> None:
        kind = model.part_class(part)
        if kind is None:
            return
        encoder = empty_text_encoder(kind, model.config(part), model.name)
        on_forward = self._sharing(part, encoder).on_forward
        files = model.part_weights(part)
        self._handles[part] = stream_text_encoder(encoder, files, settings, self._device, dtype, on_forward)
        self._joined(part, part, encoder, encoder)

    def _stream_vae(self, model: ModelDirectory, settings: StreamSettings, dtype: torch.dtype) -> None:
        config = model.config("vae")
        types = vae_types(config, dtype)
        self._vae_types = types
        vae = empty_vae(config, model.name)
        files = model.part_weights("vae")
        for half, computes_in in (("decoder", types.decoder), ("encoder", types.encoder)):
            on_forward = self._sharing(half, getattr(vae, half)).on_forward
            self._handles[half] = stream_vae_half(
                vae, half, files, settings, self._device, computes_in, on_forward, types.weights
            )
            self._joined(half, "vae", getattr(vae, half), vae)
        load_small_rest(vae, files, self._device, types)
        state_type(vae, dtype, self._device)
        save_with_halves(vae, [self._handles[half] for half in ("decoder", "encoder")])
        self._vae_guards = Guards(vae, self._device, types.decoder, keeps_type=True)

    def sharing(self, name: str, module: nn.Module) -> Sharing:
        """What makes another module share this budget, before it is streamed.

        Args:
            name: what a person calls it.
            module: to be streamed on the same device.
        """
        peaks = self._peaks if self._device.type == "cuda" else None
        on_processor = self._device.type == "cpu"
        return Sharing(module, name, self.share, peaks, self._measured, on_processor=on_processor)

    def _sharing(self, part: str, module: nn.Module) -> Sharing:
        self._members[part] = self.sharing(_PART_NAMES.get(part, part), module)
        return self._members[part]

    def _joined(self, name: str, part: str, root: nn.Module, module: nn.Module) -> None:
        self.modules[part] = module
        self._members[name].join(self._handles[name], root)

    def _measured(self) -> None:
        """A forward of some kind was measured for the first time: that is when kernels are loaded."""
        if self._context.look_again():
            self._reserve()
            self._set_cap()

    def _reserve(self) -> None:
        """What of the budget isn't for a part's weights and activations."""
        if not self._is_shared:
            self.share.reserved_nbytes = self._context.nbytes + self._others_nbytes

    def _set_cap(self) -> None:
        if not self._is_shared:
            self._cap.set(self.share.nbytes - self._context.nbytes)

    def _decoding(self, width: int, height: int) -> int:
        """Bytes of activations for decoding so many latents."""
        vae: Any = self.modules["vae"]
        latents = torch.empty(
            (1, vae.config.latent_channels, height, width), dtype=self._vae_types.decoder, device="meta"
        )
        return self._members["decoder"].activations((latents,), {})

    def _check(self, size: PictureSize, width: int, height: int, side: int | None, *, smaller_tiles: bool) -> int:
        """Returns the U-Net's activations only if every part can run."""
        needs = {part: self._encoding(part) for part in _TEXT_ENCODERS if part in self._handles}
        needs["unet"] = self._denoising(StepShape(width, height, size.batch), size)
        needs |= {name: nbytes_of(size) for name, nbytes_of in self._needs.items()}
        if smaller_tiles:
            tile = (min(width, SMALLEST_TILE), min(height, SMALLEST_TILE))
        else:
            tile = (width, height) if side is None else (min(width, side), min(height, side))
        needs["decoder"] = self._decoding(*tile)
        if size.encoded:
            needs["encoder"] = self._encoding_picture(*tile)
        smallest = {part: self.share.smallest(self._members[part].name, needs[part]) for part in needs}
        part = max(smallest, key=lambda part: smallest[part])
        if smallest[part] > self.share.nbytes:
            raise PartBudgetError(self.share.nbytes, smallest[part], self._members[part].name, needs[part])
        self._divide(self.share.room(max(needs[name] for name in self._in_each_step)))
        return needs["unet"]

    def _divide(self, room_nbytes: int) -> None:
        """What runs in each step keeps its weights beside the others', as far as there is room for all."""
        members = {name: self._members[name].name for name in self._in_each_step}
        others = {name: limit for name, limit in self.share.limits.items() if name not in members.values()}
        wants = {
            name: Wants(self._handles[part].smallest_nbytes, self._handles[part].total_nbytes)
            for part, name in members.items()
        }
        divided = portions(room_nbytes, wants) if len(wants) > 1 else None
        self.share.limits = others | (divided or {})

    def _encoding_picture(self, width: int, height: int) -> int:
        """Bytes of activations for encoding so many latents' pixels."""
        vae: Any = self.modules["vae"]
        side = pixels_per_latent(vae)
        shape = (1, vae.config.in_channels, height * side, width * side)
        pixels = torch.empty(shape, dtype=self._vae_types.encoder, device="meta")
        return self._members["encoder"].activations((pixels,), {})

    def _encoding(self, part: str) -> int:
        tokens = torch.empty((1, TOKENS), dtype=torch.long, device="meta")
        return self._members[part].activations((tokens,), {"output_hidden_states": True})

    def _denoising(self, shape: StepShape, size: PictureSize) -> int:
        unet: Any = self.modules["unet"]
        inputs = unet_inputs(unet.config, unet.dtype, shape)
        for arguments in self._told_to_unet.values():
            for name, value in arguments(size).items():
                inputs[name] = {**inputs[name], **value} if isinstance(value, dict) else value
        return self._members["unet"].activations((), inputs)
