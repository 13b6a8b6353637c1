"""diffusers programs with one line changed: every picture equals that of the same pipeline loaded whole."""

from __future__ import annotations

import copy
import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import load_file, save_file

import lzr2
import streamer
from streamer.errors import (
    BudgetError,
    EngineClosedError,
    EvictedWeightsError,
    ModelError,
    SettingError,
    StreamerError,
    WeightsMismatchError,
)
from streamer.models.demo import demo_directory
from tests.streamer.tower import Tower, prefetch_threads

DEMO = str(demo_directory())
BUDGET = "12MB"
CALL: dict[str, Any] = {"prompt": "sun", "num_inference_steps": 2, "guidance_scale": 2.5, "output_type": "np"}
SIZE = {"width": 64, "height": 64}
PICTURE = Image.fromarray((np.random.default_rng(0).random((64, 64, 3)) * 255).astype("uint8"))
MASK = Image.fromarray((np.arange(64 * 64).reshape(64, 64) % 2 * 255).astype("uint8"))


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def whole() -> Any:
    return quiet(StableDiffusionXLPipeline.from_pretrained(DEMO, torch_dtype=torch.float32, add_watermarker=False))


@pytest.fixture(scope="module")
def pipe(demo_lzr2) -> Any:
    loaded = quiet(streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu"))
    yield loaded
    loaded.streaming.close()


def images(pipe: Any, **arguments: Any) -> np.ndarray:
    made: np.ndarray = pipe(generator=torch.Generator("cpu").manual_seed(1), **(CALL | arguments)).images
    return made


def same(a: Any, b: Any, **arguments: Any) -> bool:
    return np.array_equal(images(a, **arguments), images(b, **arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"prompt": ["sun", "star"]},
        {"guidance_scale": 1.0},
        {"negative_prompt": "red", "guidance_rescale": 0.5},
        {"num_images_per_prompt": 2},
        {"width": 96},
        {"clip_skip": 1},
        {"denoising_end": 0.5, "num_inference_steps": 4},
        {"original_size": (32, 32), "target_size": (128, 128)},
    ],
    ids=str,
)
def test_text_to_image(pipe, whole, arguments):
    assert same(pipe, whole, **(SIZE | arguments))


def test_prompt_embeddings_passed_in_and_callbacks_and_interrupting(pipe, whole):
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    embeddings = dict(zip(names, whole.encode_prompt("key", device="cpu"), strict=True))
    assert same(pipe, whole, prompt=None, **embeddings, **SIZE)

    def stop(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = step == 0
        return tensors

    assert same(pipe, whole, callback_on_step_end=stop, num_inference_steps=4, **SIZE)
    assert same(pipe, whole, **SIZE)


def test_image_to_image_and_inpainting_of_the_same_parts(pipe, whole):
    for kind, arguments in (
        (StableDiffusionXLImg2ImgPipeline, {"image": PICTURE, "strength": 0.7}),
        (StableDiffusionXLInpaintPipeline, {"image": PICTURE, "mask_image": MASK, "strength": 0.9, **SIZE}),
    ):
        one, other = quiet(kind.from_pipe(pipe)), quiet(kind.from_pipe(whole))
        assert one.unet is pipe.unet
        assert same(one, other, num_inference_steps=4, **arguments)


def test_switches_of_the_pipeline(pipe, whole):
    for on, off in (
        (lambda p: p.enable_freeu(s1=0.9, s2=0.2, b1=1.3, b2=1.4), lambda p: p.disable_freeu()),
        (lambda p: p.enable_attention_slicing(), lambda p: p.disable_attention_slicing()),
        (lambda p: p.vae.enable_slicing(), lambda p: p.vae.disable_slicing()),
    ):
        for each in (pipe, whole):
            on(each)
        assert same(pipe, whole, **SIZE)
        for each in (pipe, whole):
            off(each)
    assert same(pipe, whole, **SIZE)


def test_a_controlnet_from_memory_and_one_that_streams(pipe, whole, tmp_path, demo_lzr2):
    torch.manual_seed(0)
    control = ControlNetModel.from_unet(whole.unet, conditioning_embedding_out_channels=(16, 32, 96)).eval()
    with torch.no_grad():
        for parameter in control.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    streamed = copy.deepcopy(control)
    save_file(control.state_dict(), tmp_path / "control.safetensors")
    reference = quiet(StableDiffusionXLControlNetPipeline.from_pipe(whole, controlnet=control))
    ours = quiet(StableDiffusionXLControlNetPipeline.from_pipe(pipe, controlnet=control))
    arguments = {"image": PICTURE, **SIZE}
    want = images(reference, **arguments)
    assert np.array_equal(images(ours, **arguments), want)
    with streamer.attach(streamed, tmp_path / "control.safetensors", vram_budget="8MB", device="cpu") as handle:
        both = quiet(StableDiffusionXLControlNetPipeline.from_pipe(pipe, controlnet=streamed))
        for _ in range(2):
            assert np.array_equal(images(both, **arguments), want)
        assert handle.device_nbytes <= 8_000_000
        assert handle.plan.streamed_nbytes > 0


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision(demo_lzr2, precision):
    ours = quiet(streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu", dtype=precision))
    theirs = quiet(StableDiffusionXLPipeline.from_pretrained(DEMO, torch_dtype=precision, add_watermarker=False))
    assert same(ours, theirs, **SIZE)
    ours.streaming.close()


def test_decoded_weights_may_lie_in_a_folder(demo_safetensors, tmp_path):
    halves = {key: tensor.half().numpy() for key, tensor in load_file(demo_safetensors).items()}
    lzr2.save_file(halves, tmp_path / "weights.lzr2")  # little of them lies on a lattice
    random = torch.Generator().manual_seed(0)
    inputs = {
        "sample": torch.randn(1, 4, 16, 16, generator=random),
        "timestep": 500,
        "encoder_hidden_states": torch.randn(1, 77, 192, generator=random),
        "added_cond_kwargs": {
            "text_embeds": torch.randn(1, 128, generator=random),
            "time_ids": torch.randn(1, 6, generator=random),
        },
    }
    results = []
    for spill in (None, tmp_path / "spill"):
        path = tmp_path / "weights.lzr2"
        unet = streamer.load_unet(path, vram_budget="9MB", ram_budget=0, device="cpu", spill=spill)
        with torch.no_grad():
            results += [unet(**inputs).sample for _ in range(2)]
        assert (unet.streaming.spill_path is None) == (spill is None)
        assert spill is None or any(spill.iterdir())
        unet.streaming.close()
    assert all(torch.equal(result, results[0]) for result in results)


def test_a_unet_in_a_pipeline_of_the_programs_own(demo_lzr2, whole):
    unet = streamer.load_unet(demo_lzr2, vram_budget="9MB", device="cpu")
    assert isinstance(unet, UNet2DConditionModel)
    theirs = quiet(
        StableDiffusionXLPipeline.from_pretrained(DEMO, unet=unet, torch_dtype=torch.float32, add_watermarker=False)
    )
    assert same(theirs, whole, **SIZE)
    unet.streaming.budget = "20MB"
    assert same(theirs, whole, **SIZE)
    assert 9_000_000 < unet.streaming.device_nbytes <= 20_000_000
    with pytest.raises(BudgetError):
        unet.streaming.budget = 1000
    unet.streaming.close()


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda p: p.to(torch.float16), "dtype="),
        (lambda p: p.to("meta"), "vram_budget"),
        (lambda p: p.unet.state_dict(), "lzr2.open"),
        (lambda p: copy.deepcopy(p.unet), "second time"),
        (lambda p: p.fuse_lora(), "fuse_lora"),
    ],
)
def test_what_cannot_work_says_so_and_changes_nothing(pipe, whole, action, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EvictedWeightsError, match=words):
        action(pipe)
    assert pipe.to("cpu") is pipe
    assert pipe.to(torch.float32) is pipe
    assert same(pipe, whole, num_inference_steps=1, **SIZE)


def test_saved_it_is_the_pipeline_that_it_was(pipe, whole, tmp_path):
    pipe.save_pretrained(tmp_path)
    again = StableDiffusionXLPipeline.from_pretrained(tmp_path, torch_dtype=torch.float32, add_watermarker=False)
    assert same(quiet(again), whole, **SIZE)
    for part in ("text_encoder", "text_encoder_2", "unet", "vae"):
        mine, theirs = getattr(again, part).state_dict(), getattr(whole, part).state_dict()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert same(pipe, whole, **SIZE)
    pipe.save_pretrained(tmp_path / "named", variant="half")
    assert all(list((tmp_path / "named" / part).glob("*.half.safetensors")) for part in ("unet", "vae"))


def test_detached_it_is_an_ordinary_module_again(demo_lzr2, resident_unet):
    unet = streamer.load_unet(demo_lzr2, vram_budget="9MB", device="cpu")
    before = len(prefetch_threads())
    unet.streaming.detach()
    assert len(prefetch_threads()) < before
    mine, theirs = unet.state_dict(), resident_unet.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    copy.deepcopy(unet).half()


def test_a_forgotten_unet_takes_its_threads_along(demo_lzr2):
    gc.collect()
    before = len(prefetch_threads())
    unet = streamer.load_unet(demo_lzr2, vram_budget="9MB", device="cpu")
    assert len(prefetch_threads()) > before
    there = weakref.ref(unet)
    del unet
    gc.collect()
    assert there() is None
    assert len(prefetch_threads()) == before


def test_the_base_may_be_a_whole_model(demo_lzr2, resident_unet, tmp_path):
    unet = streamer.load_unet(demo_lzr2, demo_directory(), vram_budget="9MB", device="cpu")
    assert dict(unet.config)["sample_size"] == resident_unet.config.sample_size
    unet.streaming.close()
    with pytest.raises(ModelError, match="nobody/nothing"):
        streamer.load_unet(demo_lzr2, "nobody/nothing", device="cpu")
    with pytest.raises(SettingError, match="one of them"):
        streamer.load_unet(demo_lzr2, demo_directory(), model=DEMO, device="cpu")
    # Weights of some tensors over the base's: the rest comes from the model's own U-Net.
    part = tmp_path / "part.safetensors"
    save_file({"conv_in.bias": torch.full((48,), 0.5)}, part)
    unet = streamer.load_unet(part, demo_directory(), vram_budget="9MB", device="cpu")
    unet.streaming.detach()
    assert torch.equal(unet.conv_in.bias.data, torch.full((48,), 0.5))
    assert torch.equal(unet.conv_out.weight.data, resident_unet.conv_out.weight.data)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dtype": torch.int8}, "bfloat16"),
        ({"vram_budget": 0}, "less than one byte"),
        ({"vram_budget": "0"}, "less than one byte"),
        ({"vram_budget": float("nan")}, "not a size"),
        ({"ram_budget": -1}, "size"),
        ({"vram_budget": True}, "size"),
        ({"pipeline_class": dict}, "class of pipelines"),
        ({"model": Path("nowhere at all")}, "no such directory"),
    ],
)
def test_arguments_that_make_no_sense_are_named(demo_lzr2, arguments, words):
    with pytest.raises(StreamerError, match=words):
        streamer.load_pipeline(**{"weights": demo_lzr2, "device": "cpu"} | arguments)


def test_a_module_streams_once_and_again_after_it_was_closed(tmp_path):
    torch.manual_seed(0)
    tower, x = Tower(), torch.randn(2, 16)
    path = tmp_path / "tower.safetensors"
    save_file({key: tensor.clone() for key, tensor in tower.state_dict().items()}, path)
    with torch.no_grad():
        want = tower(x)
    first = streamer.attach(tower, path, device="cpu")
    larger = tmp_path / "larger.safetensors"
    save_file({f"0.{key}": tensor for key, tensor in load_file(path).items()}, larger)
    for again, file in ((tower, path), (torch.nn.Sequential(tower), larger)):
        with pytest.raises(SettingError, match="streams already"):
            streamer.attach(again, file, device="cpu")
    assert torch.equal(tower(x), want)  # the first one goes on
    first.close()
    with pytest.raises(EngineClosedError, match="attach"):
        first.detach()
    second = streamer.attach(tower, path, device="cpu")
    assert torch.equal(tower(x), want)
    second.detach()
    second.detach()
    second.close()
    with torch.no_grad():
        assert torch.equal(tower(x), want)
    third = streamer.attach(tower, path, device="cpu")
    third.detach()
    with pytest.raises(SettingError, match="torch module"):
        streamer.attach(3, path, device="cpu")  # type: ignore[arg-type]


def test_any_module_can_be_attached_and_what_does_not_fit_is_named(tmp_path):
    torch.manual_seed(0)
    tower, x = Tower(), torch.randn(2, 16)
    path = tmp_path / "tower.safetensors"
    save_file({key: tensor.clone() for key, tensor in tower.state_dict().items()}, path)
    with torch.no_grad():
        want = tower(x)
    with streamer.attach(copy.deepcopy(tower), [path], device="cpu") as handle:
        assert handle.plan.total_nbytes > 0
    streamed = copy.deepcopy(tower)
    with streamer.attach(streamed, str(path), device="cpu", threads=0):
        assert torch.equal(streamed(x), want)
    with pytest.raises(WeightsMismatchError):
        streamer.attach(Tower(layers=7), path, device="cpu")


def test_the_names_of_the_package_are_few_and_others_are_errors():
    assert all(getattr(streamer, name) is not None for name in streamer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = streamer.nothing


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"vram_budget": "much"}, "not a size"),
        ({"ram_budget": "much"}, "not a size"),
        ({"threads": 99}, "decode threads"),
        ({"device": "abacus"}, "no device"),
    ],
)
def test_arguments_of_attach_that_make_no_sense_leave_nothing_open(arguments, words, tmp_path):
    tower, path, files = Tower(), tmp_path / "tower.safetensors", open_files()
    save_file({key: tensor.clone() for key, tensor in tower.state_dict().items()}, path)
    with pytest.raises(StreamerError, match=words):
        streamer.attach(tower, path, **{"device": "cpu"} | arguments)
    assert open_files() == files


@pytest.mark.parametrize("at", ["psutil.virtual_memory", "streamer.models.sharing.Sharing.join"])
def test_what_fails_between_opening_and_sharing_leaves_nothing_open(at, pipe, tmp_path, monkeypatch):
    tower, path = Tower(), tmp_path / "tower.safetensors"
    save_file({key: tensor.clone() for key, tensor in tower.state_dict().items()}, path)
    files, threads = open_files(), len(prefetch_threads())

    def fail(*_: object) -> None:
        raise OSError("broken off")

    monkeypatch.setattr(at, fail)
    with pytest.raises(OSError, match="broken off"):
        streamer.attach(tower, path, device="cpu", share=pipe.streaming)
    assert (open_files(), len(prefetch_threads())) == (files, threads)


def open_files() -> list[str]:
    """What files this process has open, where the system tells."""
    folder = Path("/proc/self/fd")
    return sorted(str(each.readlink()) for each in folder.iterdir() if each.is_symlink()) if folder.is_dir() else []
