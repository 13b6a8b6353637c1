"""From what a user names (weights, model, budgets) to a pipeline that is ready to draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from streamer.available_memory import available_nbytes
from streamer.config import ReadMethod, StreamSettings
from streamer.errors import ModelError, WeightsFileError
from streamer.models.checkpoint import own_parts
from streamer.models.defaults import Defaults, read_defaults
from streamer.models.demo import demo_directory, demo_weights
from streamer.models.device import choose_device, compute_type, decode_workers
from streamer.models.directory import ModelDirectory, find_model
from streamer.models.extras import ExtraOptions, add_extras
from streamer.models.first_read import compile_decoders
from streamer.models.host_memory import HostMemory, default_host_memory, page_cache_share
from streamer.models.pipeline import StreamedPipeline, load_pipeline
from streamer.models.sdxl import sdxl_directory
from streamer.models.uncollected import uncollected
from streamer.models.unet import empty_unet, expected_tensors
from streamer.models.weight_files import files_of_folder
from streamer.models.weights import open_file, open_weights
from streamer.sources.base import WeightSource
from streamer.sources.original_layout import unet_places
from streamer.tiers.device_memory import taken_nbytes

SDXL_BASE = "stabilityai/stable-diffusion-xl-base-1.0"
DEMO = "demo"

_OF_WHAT_IS_FREE = 0.95  # of a GPU's memory, when no budget is given: the screen needs some too
_FIRST_TENSOR = "conv_in.weight"  # its shape tells the demo's U-Net from SDXL's


@dataclass(frozen=True)
class PipelineOptions:
    """What a user may say about a pipeline; None leaves it to the model or the machine.

    Attributes:
        weights: LZR2 or safetensors file of the U-Net; a checkpoint in the original layout may have text encoders and
            VAE too, which are then drawn with.
        model: directory or hub id of everything else: tokenizers, scheduler, configurations, and what parts the weights
            don't have.
        base: safetensors file or folder for tensors that the weights don't set.
        vram_budget_nbytes: most bytes on the device, of everything: weights, activations, the device's context.
        ram_budget_nbytes: most bytes of weights kept in host memory between steps.
        device: ``auto``, ``cuda``, ``cuda:N`` or ``cpu``.
        dtype: to compute in; None: what suits the device.
        scheduler: by name.
        strict: weights that the model doesn't know are an error.
        workers: threads that read and decode ahead; 0: none, each block is loaded when its turn comes; None: what
            suits the device.
        io: how to read the weight file.
        vae_tile: side in pixels of the tiles in which pictures are decoded; 0: whole; None: what the budget allows.
        spill_dir: folder on a fast local disk for decoded weights, if they are more bytes in their file.
        extras: ControlNets, LoRAs and the like.
    """

    weights: Path | None = None
    model: str | None = None
    base: Path | None = None
    vram_budget_nbytes: int | None = None
    ram_budget_nbytes: int | None = None
    device: str = "auto"
    dtype: torch.dtype | None = None
    scheduler: str | None = None
    strict: bool = True
    workers: int | None = None
    io: ReadMethod = "auto"
    vae_tile: int | None = None
    spill_dir: Path | None = None
    extras: ExtraOptions = field(default_factory=ExtraOptions)


@dataclass(frozen=True)
class OpenedUnet:
    """A U-Net, where its weights come from, and how they shall be streamed.

    Attributes:
        model: everything else is in.
        unet: with shapes and no memory.
        source: of its weights, open.
        settings: budgets and threads.
        device: to compute on.
        dtype: to compute in.
        defaults: of the model.
    """

    model: ModelDirectory
    unet: UNet2DConditionModel
    source: WeightSource
    settings: StreamSettings
    device: torch.device
    dtype: torch.dtype
    defaults: Defaults


def open_pipeline(
    options: PipelineOptions, notify: Callable[[str], None], warn: Callable[[str], None] | None = None
) -> StreamedPipeline:
    """A pipeline that is ready to draw; the caller closes it. No pass over the weight file is made.

    Args:
        options: what the user said.
        notify: told what takes time, a line each.
        warn: told what about the weights doesn't fit the model, a line each; None: as ``notify``.

    Raises:
        StreamerError: anything that the user can act on.
    """
    it = open_unet(options, notify, warn)
    scheduler = options.scheduler
    pipeline = load_pipeline(
        it.model, it.unet, it.source, it.settings, it.device, it.dtype, it.defaults, scheduler, options.vae_tile
    )
    try:
        pipeline.extras = add_extras(
            pipeline.pipe, pipeline.parts, options.extras, it.device, it.dtype, scheduler, notify, warn or notify
        )
    except BaseException:
        pipeline.close()
        raise
    return pipeline


def open_unet(
    options: PipelineOptions,
    notify: Callable[[str], None],
    warn: Callable[[str], None] | None = None,
    *,
    with_rest: bool = True,
) -> OpenedUnet:
    """The U-Net and its weights, ready to be streamed; the caller closes the source.

    Args:
        options: what the user said.
        notify: told what takes time, a line each.
        warn: told what about the weights doesn't fit the model, a line each; None: as ``notify``.
        with_rest: the model's other parts are needed too; without, nothing is fetched for them.

    Raises:
        StreamerError: anything that the user can act on.
    """
    device = choose_device(options.device)
    dtype = options.dtype or compute_type(device)
    warn = warn if warn is not None else notify
    model, weights = _choose_model(options, notify, warn, with_rest)
    with uncollected():
        unet = _empty_unet(model)
    source = open_weights(
        weights,
        _base_files(options.base, model),
        expected_tensors(unet),
        strict=options.strict,
        io=options.io,
        warn=warn,
    )
    try:
        defaults = read_defaults(model.root, model.config("unet"), model.config("vae"))
        vram = options.vram_budget_nbytes or _default_budget(device, defaults)
        available = available_nbytes()
        if options.ram_budget_nbytes is None:
            host = default_host_memory(device.type, vram, available)
        else:
            host = HostMemory(options.ram_budget_nbytes)
        workers = decode_workers(device) if options.workers is None else options.workers
        settings = StreamSettings(
            vram,
            host.ram_budget_nbytes,
            workers,
            hold_only_smaller=host.hold_only_smaller,
            packed_ram_nbytes=host.packed_ram_nbytes,
            page_cache_nbytes=page_cache_share(available, host.ram_budget_nbytes, source),
            spill_dir=options.spill_dir,
            load_in_pauses=device.type == "cpu",
        )
        compile_decoders(source, expected_tensors(unet), settings, dtype, notify)
    except BaseException:
        source.close()
        raise
    return OpenedUnet(model, unet, source, settings, device, dtype, defaults)


def _empty_unet(model: ModelDirectory) -> UNet2DConditionModel:
    config = model.config("unet")
    try:
        return empty_unet(config)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, ImportError) as error:
        problem = f"its unet/config.json describes no U-Net that can be built ({type(error).__name__}: {error})."
        raise ModelError(model.name, problem) from error


def _choose_model(
    options: PipelineOptions, notify: Callable[[str], None], warn: Callable[[str], None], with_rest: bool
) -> tuple[ModelDirectory, Path | None]:
    """The model's directory and the weights; without either it is the embedded demo, without a model what fits."""
    weights = options.weights
    if weights is not None and not weights.exists():
        raise WeightsFileError(str(weights), "there is no such file.", "Check the path.")
    name = options.model
    given = [path for path in (weights, options.base) if path is not None]
    own = own_parts(given, options.io, warn)
    if own and with_rest:
        notify(f"The checkpoint's own parts are used: {', '.join(own)}")
    if name is None:
        name = DEMO if weights is None or any(_is_demo(path) for path in given) else SDXL_BASE
        if name == SDXL_BASE and not with_rest:
            return ModelDirectory(name, sdxl_directory(), None), weights
    if name == DEMO:
        model = ModelDirectory(DEMO, demo_directory(), None, own)
        return model, weights if weights is not None else demo_weights(notify=notify)
    model = find_model(name, with_unet=weights is None, notify=notify, with_rest=with_rest, own=own)
    if weights is None and options.base is None and not model.unet_files():
        raise ModelError(name, "it has no U-Net in safetensors.", "Give the U-Net's weights with --weights.")
    return model, weights


def _is_demo(weights: Path) -> bool:
    """Whether the weights are of the demo's U-Net, as far as its first layer tells."""
    source = open_file(weights, "auto")
    try:
        channels = ModelDirectory(DEMO, demo_directory(), None).config("unet")["block_out_channels"][0]
        places = unet_places(source.keys(), [_FIRST_TENSOR])
        first = places[_FIRST_TENSOR].key if places is not None else _FIRST_TENSOR
        return any(key == first and shape[:1] == (channels,) for key, shape in source.mentioned())
    finally:
        source.close()


def _base_files(base: Path | None, model: ModelDirectory) -> tuple[Path, ...]:
    if base is None:
        return model.unet_files()
    if not base.is_dir():
        return (base,)
    return files_of_folder(base)


def _default_budget(device: torch.device, defaults: Defaults) -> int:
    """The model's on a CPU; else what is free: of a GPU nearly all, and what this process has there already.

    A model's own says what it takes itself: beside a GPU's context a small one's wouldn't be seen.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * _OF_WHAT_IS_FREE) + taken_nbytes(device)
    return defaults.vram_budget_nbytes or available_nbytes() // 2
