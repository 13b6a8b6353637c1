"""What programs do with a pipeline, done with a streamed one: the same pictures, or words that say what to do."""

from __future__ import annotations

import threading
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from accelerate.hooks import remove_hook_from_module
from diffusers import StableDiffusionXLImg2ImgPipeline
from diffusers.models.attention_processor import AttnProcessor

import streamer
from streamer.errors import EngineBusyError, EvictedWeightsError
from tests.streamer.models.pairs import BUDGET, SIZE, images, quiet, same, whole_pipeline

SCHEDULERS = (
    "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler",
    "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "UniPCMultistepScheduler",
)  # fmt: skip
NOT_FOR_THIS_MODEL = {
    "DPMSolverSDEScheduler": "needs torchsde",
    "LMSDiscreteScheduler": "needs scipy",
    "PNDMScheduler": "another length of its own betas",
    "EDMEulerScheduler": "another parametrisation: no timesteps",
}


def test_the_schedulers_below_are_all_that_diffusers_calls_compatible(pipe):
    assert {kind.__name__ for kind in pipe.scheduler.compatibles} == {*SCHEDULERS, *NOT_FOR_THIS_MODEL}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler(pipe, whole, name):
    kind = next(kind for kind in pipe.scheduler.compatibles if kind.__name__ == name)
    before = [(each, each.scheduler) for each in (pipe, whole)]
    for each, scheduler in before:
        each.scheduler = kind.from_config(scheduler.config)
    try:
        assert same(pipe, whole, num_inference_steps=3, **SIZE)
    finally:
        for each, scheduler in before:
            each.scheduler = scheduler


def test_attention_processors_are_swapped_and_put_back(pipe, whole):
    before = [(each.unet, each.unet.attn_processors) for each in (pipe, whole)]
    for swap in (lambda unet: unet.set_attn_processor(AttnProcessor()), lambda unet: unet.set_default_attn_processor()):
        for unet, _ in before:
            swap(unet)
        assert same(pipe, whole, **SIZE)
    for unet, processors in before:
        unet.set_attn_processor(processors)
    assert same(pipe, whole, **SIZE)


def test_a_refiner_takes_over_in_the_middle(pipe, whole, demo_lzr2):
    refiner = quiet(
        streamer.load_pipeline(
            weights=demo_lzr2, pipeline_class=StableDiffusionXLImg2ImgPipeline, vram_budget=BUDGET, device="cpu"
        )
    )
    stock = quiet(StableDiffusionXLImg2ImgPipeline.from_pipe(whole))

    def refined(base: Any, second: Any) -> np.ndarray:
        latents = images(base, denoising_end=0.5, output_type="latent", num_inference_steps=4, **SIZE)
        return images(second, image=latents, denoising_start=0.5, num_inference_steps=4)

    want = refined(whole, stock)
    assert np.array_equal(refined(pipe, refiner), want)
    # Its weights are the base's: handing over changes nothing.
    assert np.array_equal(images(pipe, num_inference_steps=4, **SIZE), want)
    refiner.streaming.close()


def in_thread(action: Any, into: list[Any]) -> threading.Thread:
    def run() -> None:
        try:
            into.append(action())
        except Exception as error:  # noqa: BLE001 - compared
            into.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_picture_is_drawn_in_another_thread_than_loaded_it(pipe, whole):
    made: list[Any] = []
    in_thread(lambda: images(pipe, **SIZE), made).join()
    assert np.array_equal(made[0], images(whole, **SIZE))


def test_two_threads_at_once_are_told_and_never_given_a_wrong_picture(pipe, whole):
    want = images(whole, **SIZE)
    inside, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        inside.set()
        assert go_on.wait(60)

    hook = pipe.unet.mid_block.register_forward_pre_hook(hold)
    first: list[Any] = []
    thread = in_thread(lambda: images(pipe, **SIZE), first)
    assert inside.wait(60)
    second: list[Any] = []
    in_thread(lambda: images(pipe, **SIZE), second).join()
    hook.remove()
    go_on.set()
    thread.join()
    assert isinstance(second[0], EngineBusyError)
    assert np.array_equal(first[0], want)
    assert same(pipe, whole, **SIZE)


@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_a_compiled_block_gives_what_it_gives_in_a_whole_pipeline(demo_lzr2, backend):
    ours = quiet(streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu"))
    theirs = whole_pipeline()
    for each in (ours, theirs):
        each.unet.mid_block.attentions[0].transformer_blocks[0].compile(backend=backend)
    for _ in range(2):
        assert same(ours, theirs, **SIZE)
    ours.streaming.close()
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda p: p.fuse_qkv_projections(), "same without"),
        (lambda p: p.unet.enable_group_offload(torch.device("cpu")), "smaller vram_budget"),
        (lambda p: p.unet.enable_layerwise_casting(torch.float16), "smaller vram_budget"),
        (lambda p: accelerate.cpu_offload(p.unet, execution_device=torch.device("cpu")), "weight file itself"),
        (lambda p: accelerate.disk_offload(p.unet, "never", execution_device=torch.device("cpu")), "weight file"),
        # What enable_model_cpu_offload and enable_sequential_cpu_offload begin with on a GPU.
        (lambda p: p.to("meta"), "enable_model_cpu_offload"),
    ],
    ids=["fused projections", "groups", "casting", "accelerate", "disk", "model"],
)
def test_other_ways_to_save_memory_are_refused_and_change_nothing(pipe, whole, action, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EvictedWeightsError, match=words):
        action(pipe)
    assert same(pipe, whole, num_inference_steps=1, **SIZE)


def test_a_hook_that_would_move_a_streamed_module_is_told_at_its_forward(pipe, whole):
    accelerate.cpu_offload_with_hook(pipe.unet, execution_device="meta")
    with pytest.raises(EvictedWeightsError, match="enable_model_cpu_offload"):
        images(pipe, **SIZE)
    remove_hook_from_module(pipe.unet, recurse=True)
    assert same(pipe, whole, **SIZE)


def test_tiles_and_slices_of_the_vae(pipe, whole):
    for each in (pipe, whole):
        each.vae.enable_tiling()
        each.vae.enable_slicing()
    assert same(pipe, whole, **(SIZE | {"width": 96}))
    for each in (pipe, whole):
        each.vae.disable_tiling()
        each.vae.disable_slicing()
    assert same(pipe, whole, **SIZE)


def test_switching_classes_makes_no_second_copy(pipe, whole):
    other = quiet(StableDiffusionXLImg2ImgPipeline.from_pipe(pipe))
    assert all(getattr(other, name) is getattr(pipe, name) for name in ("unet", "vae", "text_encoder"))
    assert pipe.to("cpu") is pipe
    assert same(pipe, whole, **SIZE)
