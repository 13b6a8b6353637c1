"""For programs that use diffusers: one line changed, the rest as it was.

Importing this loads none of the large libraries. `load_unet` and `load_pipeline` do when they are called, while the
weights are being read already.
"""

from __future__ import annotations

import warnings as python_warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.available_memory import available_nbytes
from streamer.config import UNLIMITED, ReadMethod, StreamSettings, parse_size
from streamer.errors import SettingError
from streamer.models.head_start import head_start
from streamer.models.uncollected import uncollected
from streamer.processors import wait_without_spinning
from streamer.sources.closing import close_after_failure

if TYPE_CHECKING:
    import torch
    from diffusers import UNet2DConditionModel
    from torch import nn

    from streamer.models.open import PipelineOptions
    from streamer.models.parts import PipelineParts
    from streamer.runtime.attach import StreamHandle
    from streamer.sources.base import WeightSource

Size = int | str
"""Bytes, or a text such as ``4GB``."""

_BLOCK_KINDS = (
    "ResnetBlock2D", "BasicTransformerBlock", "Downsample2D", "Upsample2D", "CLIPEncoderLayer", "Attention",
    "Transformer2DModel",
)  # fmt: skip


def load_unet(
    weights: str | Path | None = None,
    base: str | Path | None = None,
    *,
    vram_budget: Size | None = None,
    ram_budget: Size | None = None,
    device: str = "auto",
    dtype: torch.dtype | None = None,
    model: str | Path | None = None,
    threads: int | None = None,
    io: ReadMethod = "auto",
    strict: bool = True,
    spill: str | Path | None = None,
    share: PipelineParts | None = None,
) -> UNet2DConditionModel:
    """A U-Net for a diffusers pipeline whose weights stream, with the results of one that is loaded whole, bit for bit.

    ``StableDiffusionXLPipeline.from_pretrained(base, unet=streamer.load_unet("sdxl.lzr2", vram_budget="3GB"))``. The
    budget is of the U-Net's weights alone: the pipeline's other parts are the program's. `load_pipeline` has one budget
    for everything. ``unet.streaming`` is the `StreamHandle`; with the U-Net go its threads and files.

    Args:
        weights: LZR2 or safetensors file, or a folder of safetensors; None: the model's own U-Net.
        base: safetensors for tensors that the weights don't set; or a whole model, as ``model``.
        vram_budget: most bytes of weights on the device, or a text such as ``3GB``; None: what is free.
        ram_budget: most bytes of host memory for weights between steps; None: as ``streamer gen``.
        device: ``auto``, ``cuda``, ``cuda:N`` or ``cpu``.
        dtype: to compute in; None: float16 on a GPU, float32 on a CPU.
        model: directory or hub id with the U-Net's configuration; None: what fits the weights, without any download.
        threads: that read and decode ahead; None: what suits the device.
        io: how to read the file: ``auto``, ``mmap`` or ``pread``.
        strict: weights that the U-Net doesn't know, or of another shape, are an error; otherwise a warning.
        spill: folder on a fast local disk where decoded weights are kept, for overlay-heavy files and little memory: up
            to 2 bytes a weight. The file stays for the next time and may be deleted.
        share: ``streaming`` of a pipeline, whose one budget holds for this U-Net and its activations too; instead of
            ``vram_budget``.

    Raises:
        StreamerError: anything that the caller can act on: no such file, weights that don't fit, a budget too small.
    """
    with head_start(weights, model, base, spill):
        wait_without_spinning()
        with uncollected():
            from streamer.models.open import open_unet
            from streamer.models.unet import stream_unet

        budget = vram_budget if share is None else _shared(share, vram_budget, device)
        options = _options(weights, base, budget, ram_budget, device, dtype, model, threads, io, strict, spill)
        it = open_unet(options, _silent, _warn, with_rest=False)
        closes = [it.source.close]
        try:
            sharing = None if share is None else share.sharing("another U-Net", it.unet)
            on_forward = None if sharing is None else sharing.on_forward
            handle = stream_unet(it.unet, it.source, it.settings, it.device, it.dtype, on_forward)
            closes.insert(0, handle.close)
            if sharing is not None:
                sharing.join(handle, it.unet)
        except BaseException:
            close_after_failure(*closes)
            raise
        it.unet.streaming = handle
        return it.unet


def load_pipeline(
    model: str | Path | None = None,
    weights: str | Path | None = None,
    *,
    pipeline_class: Any = None,
    base: str | Path | None = None,
    vram_budget: Size | None = None,
    ram_budget: Size | None = None,
    device: str = "auto",
    dtype: torch.dtype | None = None,
    threads: int | None = None,
    io: ReadMethod = "auto",
    strict: bool = True,
    spill: str | Path | None = None,
    share: PipelineParts | None = None,
    **components: Any,
) -> Any:
    """A diffusers pipeline with text encoders, U-Net and VAE streamed under one budget.

    ``from_pipe`` makes other SDXL pipelines of the same parts. ``pipe.streaming`` has the handles, the budget, and
    ``prepare(size)``, which chooses the VAE's tiles for a size other than the model's. A second model, such as a
    refiner, shares the first one's budget with ``share=pipe.streaming``: whichever runs has it.

    Args:
        model: directory in diffusers layout, hub id, or ``demo``; None: what fits the weights.
        weights: of the U-Net, as for `load_unet`; None: the model's own.
        pipeline_class: of diffusers' SDXL pipelines; None: ``StableDiffusionXLPipeline``.
        base: safetensors for tensors that the weights don't set; or a whole model, as ``model``.
        vram_budget: most bytes on the device for everything, or a text such as ``4GB``; None: what is free.
        ram_budget: most bytes of host memory for weights between steps; None: as ``streamer gen``.
        device: ``auto``, ``cuda``, ``cuda:N`` or ``cpu``.
        dtype: to compute in; None: float16 on a GPU, float32 on a CPU.
        threads: that read and decode ahead; None: what suits the device.
        io: how to read the file: ``auto``, ``mmap`` or ``pread``.
        strict: weights that the U-Net doesn't know, or of another shape, are an error; otherwise a warning.
        spill: folder on a fast local disk where decoded weights are kept, for overlay-heavy files and little memory: up
            to 2 bytes a weight. The file stays for the next time and may be deleted.
        share: ``streaming`` of another pipeline, whose one budget is this one's too; instead of ``vram_budget``.
        components: passed on to the pipeline, such as ``controlnet``.

    Raises:
        StreamerError: anything that the caller can act on.
    """
    if pipeline_class is not None and not hasattr(pipeline_class, "from_pretrained"):
        raise SettingError(f"{pipeline_class!r} is no class of pipelines.", "Such as StableDiffusionXLImg2ImgPipeline.")
    with head_start(weights, model, base, spill):
        wait_without_spinning()
        with uncollected():
            from diffusers import StableDiffusionXLPipeline

            from streamer.models.open import open_unet
            from streamer.models.parts import PipelineParts
            from streamer.models.pipeline import load_rest

        budget = vram_budget if share is None else _shared(share, vram_budget, device)
        options = _options(weights, base, budget, ram_budget, device, dtype, model, threads, io, strict, spill)
        it = open_unet(options, _silent, _warn)
        shared = None if share is None else share.share
        try:
            parts = PipelineParts(it.model, it.unet, it.source, it.settings, it.device, it.dtype, shared)
        except BaseException:
            close_after_failure(it.source.close)
            raise
        try:
            parts.prepare_for_default_size(it.defaults)
            of_class = StableDiffusionXLPipeline if pipeline_class is None else pipeline_class
            pipe = load_rest(it.model, parts.modules | components, it.dtype, of_class)
        except BaseException:
            close_after_failure(parts.close)
            raise
        pipe.streaming = parts
        return pipe


def attach(
    module: nn.Module,
    source: str | Path | Sequence[str | Path] | WeightSource,
    *,
    vram_budget: Size | None = None,
    ram_budget: Size = 0,
    device: str = "auto",
    dtype: torch.dtype | None = None,
    threads: int | None = None,
    io: ReadMethod = "auto",
    share: PipelineParts | None = None,
) -> StreamHandle:
    """From now on the module's weights stream from the source; its results stay the same, bit for bit.

    For any tree of modules: a ControlNet, a refiner, a text encoder, a transformer. Its blocks are the layers that
    diffusers' and transformers' models repeat, and large single layers; the order in which they run is found in the
    first forward. Closing the handle ends the module; ``detach`` makes it an ordinary one again.

    Args:
        module: with or without weights (torch's meta device); those it has are let go of.
        source: of all its parameters but adapters': an LZR2 or safetensors file, several of the latter, a folder, or a
            source.
        vram_budget: most bytes of its weights and adapters on the device; None: all of them may stay.
        ram_budget: most bytes of host memory for weights between forwards.
        device: ``auto``, ``cuda``, ``cuda:N`` or ``cpu``.
        dtype: to compute in; None: float16 on a GPU, float32 on a CPU.
        threads: that read and decode ahead; None: what suits the device.
        io: how to read files.
        share: ``streaming`` of a pipeline, whose one budget holds for this module and its activations too; instead of
            ``vram_budget``.

    Raises:
        StreamerError: the source doesn't give all parameters, or the budget is too small.
    """
    from torch import nn

    from streamer.models.blocks import find_blocks
    from streamer.models.device import choose_device, compute_type, decode_workers
    from streamer.models.host_memory import page_cache_share
    from streamer.models.turns import in_order_of_tree
    from streamer.models.weights import open_weights
    from streamer.runtime.attach import attach as attach_blocks

    if not isinstance(module, nn.Module):
        raise SettingError(f"A {type(module).__name__} has no weights to stream.", "Give a torch module.")
    where = choose_device(device)
    if share is not None:
        _shared(share, vram_budget, device)
    settings = StreamSettings(
        _nbytes(vram_budget, least=1) or UNLIMITED,
        _nbytes(ram_budget) or 0,
        decode_workers(where) if threads is None else threads,
        load_in_pauses=where.type == "cpu",
    )
    blocks = find_blocks(module, _BLOCK_KINDS)
    expected = {place.key: place.shape for block in blocks for place in block.places}
    if isinstance(source, (str, Path)):
        opened = open_weights(Path(source), (), expected, strict=False, io=io, warn=_warn)
    elif isinstance(source, Sequence):
        opened = open_weights(None, [Path(path) for path in source], expected, strict=False, io=io, warn=_warn)
    else:
        opened = source
    closes = [opened.close]
    try:
        page_cache_nbytes = page_cache_share(available_nbytes(), settings.ram_budget_nbytes, opened)
        sharing = None if share is None else share.sharing(f"the {type(module).__name__}", module)
        handle = attach_blocks(
            module,
            blocks,
            in_order_of_tree(blocks),
            opened,
            replace(settings, page_cache_nbytes=page_cache_nbytes),
            where,
            dtype or compute_type(where),
            asleep=sharing is not None,
            on_forward=None if sharing is None else sharing.on_forward,
        )
        closes.insert(0, handle.close)
        if sharing is not None:
            sharing.join(handle, module)
    except BaseException:
        close_after_failure(*closes)
        raise
    return handle


def _shared(share: PipelineParts, vram_budget: Size | None, device: str) -> int:
    """The budget that is shared, if it can be."""
    if vram_budget is not None:
        raise SettingError(
            "Both share and vram_budget are given: what shares another pipeline's budget has none of its own.",
            "Leave vram_budget out, or set the budget of both: pipe.streaming.share.nbytes = ...",
        )
    from streamer.models.device import choose_device

    if choose_device(device) != share.device:
        raise SettingError(
            f"The budget to be shared is of {share.device}, and this would compute on {choose_device(device)}.",
            f'Say device="{share.device}".',
        )
    return share.budget_nbytes


def _options(
    weights: str | Path | None,
    base: str | Path | None,
    vram_budget: Size | None,
    ram_budget: Size | None,
    device: str,
    dtype: torch.dtype | None,
    model: str | Path | None,
    threads: int | None,
    io: ReadMethod,
    strict: bool,
    spill: str | Path | None,
) -> PipelineOptions:
    from streamer.models.directory import is_model
    from streamer.models.open import PipelineOptions

    if dtype is not None and not dtype.is_floating_point:
        raise SettingError(f"Nothing is computed in {dtype}.", "Use torch.float16, bfloat16 or float32.")
    if base is not None and is_model(base):
        if model is not None:
            raise SettingError(f"Both model ({model}) and base ({base}) are whole models.", "Give one of them.")
        model, base = base, None
    return PipelineOptions(
        weights=None if weights is None else Path(weights),
        model=None if model is None else str(model),
        base=None if base is None else Path(base),
        vram_budget_nbytes=_nbytes(vram_budget, least=1),
        ram_budget_nbytes=_nbytes(ram_budget),
        device=device,
        dtype=dtype,
        strict=strict,
        workers=threads,
        io=io,
        spill_dir=None if spill is None else Path(spill),
    )


def _nbytes(size: Size | None, least: int = 0) -> int | None:
    if size is None or (isinstance(size, int) and not isinstance(size, bool) and size >= least):
        return size
    return parse_size(str(size), least)


def _silent(line: str) -> None:
    """Progress isn't told: the caller has its own."""


def _warn(line: str) -> None:
    python_warnings.warn(line, UserWarning, stacklevel=3)
