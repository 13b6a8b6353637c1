"""Refiners, schedulers, compilers, threads and offloading with streamed pipelines: the stock one's pixels."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload_with_hook
from diffusers import (
    AutoPipelineForImage2Image,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.hooks import apply_group_offloading
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import save_file

import streamer
from streamer.errors import EvictedWeightsError, SettingError
from tests.streamer.models.drawing_alike import BUDGET, CALL, DEMO, PICTURE, images, quiet, same
from tests.streamer.models.live_memory import LiveMemory

SCHEDULERS = sorted(EulerDiscreteScheduler().compatibles, key=lambda kind: kind.__name__)
KARRAS = {"EDMEulerScheduler": {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}}  # it takes no None


@pytest.fixture(scope="module")
def refiner_directory(tmp_path_factory) -> Path:
    """A model as SDXL's refiner: the second text encoder alone, another U-Net, and scores of how pictures look."""
    root = tmp_path_factory.mktemp("refiner")
    shutil.copytree(DEMO, root, dirs_exist_ok=True)
    for part in ("text_encoder", "tokenizer", "unet"):
        shutil.rmtree(root / part)
    index = json.loads((root / "model_index.json").read_text())
    index |= {"_class_name": "StableDiffusionXLImg2ImgPipeline", "requires_aesthetics_score": True}
    index |= {"text_encoder": [None, None], "tokenizer": [None, None]}
    (root / "model_index.json").write_text(json.dumps(index))
    config = json.loads((Path(DEMO) / "unet" / "config.json").read_text())
    config |= {"cross_attention_dim": 128, "projection_class_embeddings_input_dim": 5 * 32 + 128}
    torch.manual_seed(0)
    UNet2DConditionModel.from_config(config).save_pretrained(root / "unet")
    return root


def handed_over(base: Any, refiner: Any) -> np.ndarray:
    latents = images(base, denoising_end=0.5, num_inference_steps=4, output_type="latent")
    arguments = {"image": torch.as_tensor(latents), "denoising_start": 0.5, "num_inference_steps": 4}
    return images(refiner, width=None, height=None, **arguments)


@contextmanager
def refining(streamed: Any, directory: Path) -> Any:
    kind = StableDiffusionXLImg2ImgPipeline
    share = streamed.streaming
    refiner = quiet(streamer.load_pipeline(str(directory), pipeline_class=kind, share=share, device="cpu"))
    yield refiner
    refiner.streaming.close()


def test_a_refiner_takes_over_and_both_have_one_budget(streamed, stock, refiner_directory):
    theirs = quiet(
        StableDiffusionXLImg2ImgPipeline.from_pretrained(
            refiner_directory, torch_dtype=torch.float32, add_watermarker=False
        )
    )
    want = handed_over(stock, theirs)
    budget = streamed.streaming.budget_nbytes
    with refining(streamed, refiner_directory) as refiner:
        assert refiner.streaming.share is streamed.streaming.share
        held = []
        handles = [*streamed.streaming.handles.values(), *refiner.streaming.handles.values()]
        watches = [
            module.register_forward_hook(lambda *_: held.append(sum(each.device_nbytes for each in handles)))
            for pipe in (streamed, refiner)
            for module in (pipe.unet, pipe.text_encoder_2, pipe.vae.decoder)
        ]
        for _ in range(2):
            assert np.array_equal(handed_over(streamed, refiner), want)
        for watch in watches:
            watch.remove()
        with LiveMemory() as live:
            handed_over(streamed, refiner)
    assert 0 < max(held) <= budget
    assert max(held) < live.peak_nbytes <= budget  # activations count
    assert same(streamed, stock)  # and without the refiner again


def test_what_shares_a_budget_has_none_of_its_own(streamed, refiner_directory):
    with pytest.raises(SettingError, match="nbytes"):
        streamer.load_pipeline(str(refiner_directory), share=streamed.streaming, vram_budget="1GB", device="cpu")


def test_a_second_unet_shares_the_budget_of_a_pipeline(streamed, stock, demo_lzr2):
    budget = streamed.streaming.budget_nbytes
    with pytest.raises(SettingError, match="nbytes"):
        streamer.load_unet(demo_lzr2, share=streamed.streaming, vram_budget="1GB", device="cpu")
    second = streamer.load_unet(demo_lzr2, share=streamed.streaming, device="cpu")
    with second.streaming:
        arguments = {"torch_dtype": torch.float32, "add_watermarker": False}
        other = quiet(StableDiffusionXLPipeline.from_pretrained(DEMO, unet=second, **arguments))
        for _ in range(2):
            assert same(other, stock)
            assert same(streamed, stock)
            held = [*streamed.streaming.handles.values(), second.streaming]
            assert sum(each.device_nbytes for each in held) <= budget
    assert same(streamed, stock)


@pytest.mark.parametrize("kind", SCHEDULERS, ids=lambda kind: kind.__name__)
def test_every_scheduler(streamed, stock, kind):
    before = stock.scheduler
    config = dict(before.config) | KARRAS.get(kind.__name__, {})
    schedulers = [kind.from_config(config) for _ in range(2)]
    for pipe, scheduler in zip((streamed, stock), schedulers, strict=True):
        pipe.scheduler = scheduler
    try:
        assert same(streamed, stock, num_inference_steps=4, guidance_scale=1.0)
    finally:
        for pipe in (streamed, stock):
            pipe.scheduler = type(before).from_config(before.config)


def test_attention_is_computed_by_another_processor_and_by_the_default_again(streamed, stock):
    meter = streamed.streaming.activations("unet")
    plain, known, before = images(stock), [], [dict(pipe.unet.attn_processors) for pipe in (streamed, stock)]
    inputs = {"encoder_hidden_states": torch.empty(2, 77, 192, device="meta")}
    inputs["added_cond_kwargs"] = {
        "text_embeds": torch.empty(2, 128, device="meta"),
        "time_ids": torch.empty(2, 6, device="meta"),
    }
    for processor in (None, AttnProcessor()):
        for pipe in (streamed, stock):
            if processor is not None:
                pipe.unet.set_attn_processor(processor)
        known.append(meter((torch.empty(2, 4, 64, 64, device="meta"), torch.empty((), device="meta")), inputs))
        assert same(streamed, stock)
    assert known[1] > 1.5 * known[0]  # this one writes its scores out, and the budget counts them
    for pipe in (streamed, stock):
        pipe.unet.set_default_attn_processor()
    assert same(streamed, stock)
    for pipe, processors in zip((streamed, stock), before, strict=True):
        pipe.unet.set_attn_processor(processors)
    assert np.array_equal(images(streamed), plain)


@pytest.fixture
def fresh(demo_lzr2) -> Iterator[tuple[Any, Any]]:
    """A streamed pipeline and a stock one that a test may change for good; and a compiler that knows nothing."""
    torch.compiler.reset()
    theirs = quiet(StableDiffusionXLPipeline.from_pretrained(DEMO, torch_dtype=torch.float32, add_watermarker=False))
    ours = quiet(streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu"))
    # Both compile the same code for blocks of several widths: older versions of torch give up at eight.
    with torch._dynamo.config.patch(cache_size_limit=64):
        yield ours, theirs
    ours.streaming.close()
    torch.compiler.reset()


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_blocks_are_compiled_whole_and_the_hooks_are_not(fresh, backend):
    for pipe in fresh:
        pipe.unet.compile_repeated_blocks(backend=backend, fullgraph=True)
    for _ in range(2):
        assert same(*fresh)


@pytest.mark.slow
def test_a_unet_compiled_as_a_whole_breaks_its_graph_at_the_hooks(fresh, stock):
    ours, _ = fresh
    ours.unet = torch.compile(ours.unet, backend="aot_eager")
    for _ in range(2):
        assert same(ours, stock)


def test_a_picture_drawn_in_another_thread(streamed, stock):
    with ThreadPoolExecutor(1) as thread:
        assert np.array_equal(thread.submit(images, streamed).result(), images(stock))


def test_pictures_drawn_in_two_threads_at_once(streamed, stock, demo_lzr2):
    other = quiet(StableDiffusionXLPipeline.from_pipe(streamed))
    # These have a state of their own.
    other.scheduler = type(stock.scheduler).from_config(stock.scheduler.config)
    other.tokenizer, other.tokenizer_2 = copy.deepcopy((streamed.tokenizer, streamed.tokenizer_2))
    prompts = {"sun": streamed, "star": other}
    want = {prompt: drawn(stock, prompt) for prompt in prompts}
    for _ in range(2):
        with ThreadPoolExecutor(2) as threads:
            made = {prompt: threads.submit(drawn, pipe, prompt) for prompt, pipe in prompts.items()}
        assert all(np.array_equal(made[prompt].result(), want[prompt]) for prompt in prompts)


def drawn(pipe: Any, prompt: str) -> np.ndarray:
    """Without touching the generator that all threads have in common."""
    made: np.ndarray = pipe(generator=torch.Generator("cpu").manual_seed(1), **(CALL | {"prompt": prompt})).images
    return made


@pytest.mark.parametrize(
    "offload",
    [
        lambda p: p.fuse_qkv_projections(),
        lambda p: p.fuse_qkv_projections(unet=False),
        lambda p: p.enable_group_offload(torch.device("cpu"), offload_type="leaf_level"),
        lambda p: p.unet.enable_group_offload(torch.device("cpu"), offload_type="leaf_level"),
        lambda p: p.unet.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32),
        lambda p: p.enable_sequential_cpu_offload(device="meta"),
        lambda p: StableDiffusionXLImg2ImgPipeline.from_pipe(p, torch_dtype=torch.float16),
    ],
)
def test_what_would_rewrite_or_move_the_weights_is_refused(streamed, stock, offload):
    with pytest.raises(EvictedWeightsError, match=r"[Ll]eave|vram_budget|dtype="):
        offload(streamed)
    assert same(streamed, stock)


@pytest.mark.parametrize(
    "offload",
    [
        lambda p: p.enable_model_cpu_offload(device="cpu"),  # with no device given it asks for a GPU
        lambda p: cpu_offload_with_hook(p.unet, torch.device("cpu")),
    ],
    ids=["the pipeline", "its U-Net"],
)
def test_hooks_that_move_weights_about_are_found_before_the_forward(streamed, stock, offload):
    offload(streamed)
    with pytest.raises(EvictedWeightsError, match=r"remove_all_hooks\(\) .* vram_budget"):
        images(streamed)
    streamed.remove_all_hooks()
    assert same(streamed, stock)


def test_a_text_encoder_offloaded_in_groups_is_found_before_the_forward(fresh):
    ours, _ = fresh
    apply_group_offloading(ours.text_encoder, torch.device("cpu"), offload_type="leaf_level")
    with pytest.raises(EvictedWeightsError, match="Load the model again"):
        images(ours)


def test_the_vae_decodes_in_tiles_or_slices_where_the_program_says_so(streamed, stock):
    arguments = {"width": 128, "height": 80}
    whole = images(stock, **arguments)
    for pipe in (streamed, stock):
        pipe.vae.enable_tiling()
    tiled = images(stock, **arguments)
    assert np.array_equal(images(streamed, **arguments), tiled)
    for pipe in (streamed, stock):
        pipe.vae.disable_tiling()
    assert np.array_equal(images(streamed, **arguments), whole)
    assert not np.array_equal(whole, tiled)


def test_pipelines_of_the_same_parts_are_made_to_and_fro(streamed, stock):
    arguments = {"image": PICTURE, "strength": 0.7, "num_inference_steps": 4, "width": None, "height": None}
    one, other = (quiet(AutoPipelineForImage2Image.from_pipe(pipe)) for pipe in (streamed, stock))
    assert same(one, other, **arguments)
    back = quiet(StableDiffusionXLPipeline.from_pipe(one))
    assert back.unet is streamed.unet
    assert same(back.to("cpu"), stock)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_another_pipeline_is_made_with_its_type_said(demo_lzr2, dtype):
    kind, arguments = StableDiffusionXLImg2ImgPipeline, {"torch_dtype": dtype, "add_watermarker": False}
    ours = streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu", dtype=dtype)
    with ours.streaming:
        stock = StableDiffusionXLPipeline.from_pretrained(DEMO, **arguments)
        if kind.from_pipe(stock).unet.dtype != dtype:  # older versions leave the type
            with pytest.raises(EvictedWeightsError, match=rf"from_pipe\(pipe, torch_dtype={dtype}\)"):
                kind.from_pipe(ours)
        one = quiet(kind.from_pipe(ours, torch_dtype=dtype))
        other = quiet(kind.from_pretrained(DEMO, **arguments))
        assert same(one, other, image=PICTURE, strength=0.5, width=None, height=None)


def test_torchs_own_transformer_streams(tmp_path):
    layer = torch.nn.TransformerEncoderLayer(512, 8, 1024, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 3).eval()
    save_file({key: tensor.contiguous() for key, tensor in encoder.state_dict().items()}, tmp_path / "it.safetensors")
    x = torch.rand(2, 5, 512, generator=torch.Generator().manual_seed(0))
    # With a hook somewhere torch takes the way that calls every layer: the one that is streamed.
    watch = layer_of(encoder).register_forward_hook(lambda *_: None)
    with torch.no_grad():
        want = encoder(x)
    watch.remove()
    with streamer.attach(encoder, tmp_path / "it.safetensors", vram_budget="9MB", device="cpu") as handle:
        with torch.no_grad():
            assert torch.equal(encoder(x), want)
            assert torch.equal(encoder(x), want)
        assert handle.device_nbytes < 10_000_000 < handle.total_nbytes
        assert handle.stats.steps[-1].work.loaded_nbytes > 0


def layer_of(encoder: torch.nn.TransformerEncoder) -> torch.nn.Module:
    return encoder.layers[0]
