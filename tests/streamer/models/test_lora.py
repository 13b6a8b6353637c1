"""Adapters on streamed modules: every picture equals that of the same pipeline loaded whole, with the same adapters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

import streamer
from streamer.errors import BudgetError, EvictedWeightsError, PartBudgetError, WeightsFileError
from streamer.models import blocks
from streamer.models.demo import demo_directory
from streamer.models.lora import LoraFile, apply_loras
from streamer.models.parts import PictureSize
from tests.streamer.models.live_memory import LiveMemory

peft = pytest.importorskip("peft")

DEMO = str(demo_directory())
BUDGET = "20MB"  # DoRA needs some of a step's memory for itself
CALL: dict[str, Any] = {"prompt": "sun", "num_inference_steps": 2, "guidance_scale": 2.5, "output_type": "np"}
SIZE = {"width": 64, "height": 64}
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
CONVOLUTIONS = ["conv_in", "conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv"]
LAYERS = ["time_embedding.linear_1", "time_embedding.linear_2", "add_embedding.linear_1", "time_emb_proj", "proj_in",
          "ff.net.0.proj", "ff.net.2"]  # fmt: skip
TEXT = ["q_proj", "v_proj", "fc1"]
PARTS = ("unet", "text_encoder", "text_encoder_2")


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def images(pipe: Any, **arguments: Any) -> np.ndarray:
    made: np.ndarray = pipe(generator=torch.Generator("cpu").manual_seed(1), **(CALL | SIZE | arguments)).images
    return made


def adapter(module: torch.nn.Module, seed: int, targets: list[str], rank: int = 4, **config: Any) -> dict[str, Any]:
    """What training would leave behind: weights of all these layers, none of them zero."""
    torch.manual_seed(seed)
    trained = copy.deepcopy(module)
    settings = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=targets, init_lora_weights=False, **config)
    trained.add_adapter(settings, "trained")
    state = peft.get_peft_model_state_dict(trained, adapter_name="trained")
    return {key: value * 1.3 if "magnitude" in key else value for key, value in state.items()}


@pytest.fixture(scope="module")
def whole() -> Any:
    return quiet(StableDiffusionXLPipeline.from_pretrained(DEMO, torch_dtype=torch.float32, add_watermarker=False))


@pytest.fixture(scope="module")
def files(whole: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters as they are shared, by what is special about them."""
    folder = tmp_path_factory.mktemp("adapters")

    def saved(name: str, unet: dict[str, Any], **text: dict[str, Any]) -> None:
        file = f"{name}.safetensors"
        StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=unet, weight_name=file, **text)

    for seed, name in enumerate(("first", "second")):
        text = {f"{part}_lora_layers": adapter(getattr(whole, part), 10 + seed, TEXT) for part in PARTS[1:]}
        saved(name, adapter(whole.unet, seed, ATTENTION), **text)
    saved("unet only", adapter(whole.unet, 2, ATTENTION))
    saved("other", adapter(whole.unet, 3, ATTENTION))
    saved("larger", adapter(whole.unet, 4, ATTENTION, rank=8))
    saved("everywhere", adapter(whole.unet, 5, CONVOLUTIONS + LAYERS))
    text = {f"{part}_lora_layers": adapter(getattr(whole, part), 7, TEXT, use_dora=True) for part in PARTS[1:]}
    saved("dora", adapter(whole.unet, 6, ATTENTION + CONVOLUTIONS + LAYERS, use_dora=True), **text)
    kohya = {}
    for key, value in load_file(folder / "unet only.safetensors").items():
        layer, _, kind = key.removeprefix("unet.").removesuffix(".weight").rpartition(".")
        name = "lora_unet_" + layer.replace(".", "_")
        kohya[f"{name}.{'lora_down' if kind == 'lora_A' else 'lora_up'}.weight"] = value
        kohya[f"{name}.alpha"] = torch.tensor(2.0)
    save_file(kohya, folder / "kohya.safetensors")
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def streamed(demo_lzr2: Path) -> Iterator[Any]:
    loaded = quiet(streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu"))
    yield loaded
    loaded.streaming.close()


@pytest.fixture(scope="module")
def plain(whole: Any) -> np.ndarray:
    return images(whole)


@pytest.fixture
def both(whole: Any, streamed: Any, plain: np.ndarray) -> Iterator[Callable[..., np.ndarray]]:
    """Does the same to both pipelines and returns the picture, which is the same; without adapters as before after."""

    def do(*actions: Callable[[Any], Any], **arguments: Any) -> np.ndarray:
        for action in actions:
            action(whole)
            action(streamed)
        made = images(whole, **arguments)
        assert np.array_equal(images(streamed, **arguments), made)
        assert np.isfinite(made).all()
        return made

    yield do
    for pipe in (whole, streamed):
        pipe.unload_lora_weights()
        pipe.__dict__.pop("_lora_scale", None)  # diffusers applies the last one to what is loaded next
    assert np.array_equal(images(streamed), plain)
    assert np.array_equal(images(whole), plain)


def load(path: Path, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
    return lambda pipe: pipe.load_lora_weights(path, adapter_name=name, **options)


def differ(*pictures: np.ndarray) -> bool:
    return all(not np.array_equal(a, b) for i, a in enumerate(pictures) for b in pictures[:i])


@pytest.mark.parametrize("name", ["first", "unet only", "kohya", "everywhere", "dora"])
def test_loaded_after_streaming_began(both, files, name, plain):
    first = both(load(files[name]))
    assert differ(first, plain)
    assert np.array_equal(both(), first)


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_both_ways_in_which_adapters_are_loaded(both, files, low_cpu_mem_usage, plain):
    assert differ(both(load(files["dora"], low_cpu_mem_usage=low_cpu_mem_usage)), plain)


def test_several_at_once_their_weights_and_their_scales(both, files, plain):
    pictures = [
        plain,
        both(load(files["first"], "first"), load(files["second"], "second")),
        both(lambda pipe: pipe.set_adapters(["first", "second"])),
        both(lambda pipe: pipe.set_adapters(["first", "second"], [0.3, 0.9])),
        both(lambda pipe: pipe.set_adapters("first", {"unet": {"down": 0.2, "up": 0.7}})),
        both(cross_attention_kwargs={"scale": 0.4}),
    ]
    assert differ(*pictures)


def test_disabled_enabled_and_deleted(both, files, plain):
    one = both(load(files["first"], "first"))
    assert np.array_equal(both(lambda pipe: pipe.disable_lora()), plain)
    assert np.array_equal(both(lambda pipe: pipe.enable_lora()), one)
    two = both(load(files["second"], "second"), lambda pipe: pipe.set_adapters(["first", "second"]))
    assert differ(plain, one, two)
    assert np.array_equal(both(lambda pipe: pipe.delete_adapters("second")), one)
    assert np.array_equal(both(lambda pipe: pipe.delete_adapters("first")), plain)


def test_unloaded_and_loaded_again(both, files, streamed, plain):
    before = streamed.streaming.unet.in_memory_nbytes
    one = both(load(files["dora"]))
    assert streamed.streaming.unet.in_memory_nbytes > before
    assert np.array_equal(both(lambda pipe: pipe.unload_lora_weights()), plain)
    assert streamed.streaming.unet.in_memory_nbytes == before == 0
    assert np.array_equal(both(load(files["dora"])), one)


def test_swapped_while_loaded(both, files, streamed):
    one = both(load(files["unet only"], "it"))
    small = streamed.streaming.unet.in_memory_nbytes
    two = both(load(files["other"], "it", hotswap=True))
    assert streamed.streaming.unet.in_memory_nbytes == small
    three = both(load(files["larger"], "it", hotswap=True))
    assert streamed.streaming.unet.in_memory_nbytes == 2 * small
    assert differ(one, two, three)


@pytest.mark.parametrize("name", ["first", "everywhere", "dora"])
def test_loaded_before_streaming_began(demo_safetensors, files, whole, plain, name):
    pipe = quiet(StableDiffusionXLPipeline.from_pretrained(DEMO, torch_dtype=torch.float32, add_watermarker=False))
    for each in (pipe, whole):
        load(files[name], "it")(each)
    with streamer.attach(pipe.unet, demo_safetensors, vram_budget="10MB", device="cpu") as handle:
        want = images(whole)
        assert np.array_equal(images(pipe), want)
        assert differ(want, plain)
        assert handle.plan.streamed_nbytes > 0
        for each in (pipe, whole):
            each.unload_lora_weights()
        assert np.array_equal(images(pipe), plain)


def test_adapters_that_are_there_get_the_device_and_type_that_is_computed_in(demo_safetensors, files):
    pipe, reference = (
        quiet(StableDiffusionXLPipeline.from_pretrained(DEMO, torch_dtype=torch.float32, add_watermarker=False))
        for _ in range(2)
    )
    for each in (pipe, reference):
        load(files["first"])(each)
        each.text_encoder.to(torch.bfloat16), each.text_encoder_2.to(torch.bfloat16), each.vae.to(torch.bfloat16)
    reference.unet.to(torch.bfloat16)
    with streamer.attach(pipe.unet, demo_safetensors, device="cpu", dtype=torch.bfloat16):
        assert {parameter.dtype for parameter in pipe.unet.parameters()} == {torch.bfloat16}
        assert np.array_equal(images(pipe), images(reference))


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision(demo_lzr2, files, precision):
    ours = quiet(streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu", dtype=precision))
    theirs = quiet(StableDiffusionXLPipeline.from_pretrained(DEMO, torch_dtype=precision, add_watermarker=False))
    with ours.streaming:
        for each in (ours, theirs):
            load(files["dora"])(each)
        assert np.array_equal(images(ours), images(theirs))


@pytest.mark.parametrize(("name", "large"), [("first", None), ("everywhere", None), ("dora", None), ("dora", 1)])
def test_with_few_weights_and_after_a_change_of_the_budget(demo_lzr2, files, whole, name, large, monkeypatch):
    if large is not None:  # each layer outside any block is one of its own, as most are in SDXL
        monkeypatch.setattr(blocks, "LARGE_LEAF", large)
    unet = streamer.load_unet(demo_lzr2, vram_budget="9MB", device="cpu", threads=0)
    pipe = quiet(
        StableDiffusionXLPipeline.from_pretrained(DEMO, unet=unet, torch_dtype=torch.float32, add_watermarker=False)
    )
    images(pipe)
    for each in (pipe, whole):
        load(files[name])(each)
    want = images(whole)
    for budget in (unet.streaming.smallest_nbytes, 20_000_000, unet.streaming.smallest_nbytes):
        unet.streaming.budget = budget
        assert unet.streaming.budget == budget
        assert np.array_equal(images(pipe), want)
        assert unet.streaming.device_nbytes + unet.streaming.in_memory_nbytes <= budget
    whole.unload_lora_weights()
    unet.streaming.close()


def test_adapters_count_in_the_budget_of_one_module(demo_lzr2, files, whole):
    unet = streamer.load_unet(demo_lzr2, device="cpu")
    unet.streaming.budget = least = unet.streaming.smallest_nbytes
    pipe = quiet(
        StableDiffusionXLPipeline.from_pretrained(DEMO, unet=unet, torch_dtype=torch.float32, add_watermarker=False)
    )
    images(pipe)
    load(files["unet only"], "it")(pipe)
    adapters = sum(p.nbytes for name, p in unet.named_parameters() if "lora_" in name)
    with pytest.raises(BudgetError) as caught:
        images(pipe)
    assert caught.value.smallest_nbytes == least + adapters
    assert caught.value.budget_nbytes == least
    unet.streaming.budget = least + adapters
    pictures = images(pipe)
    load(files["unet only"])(whole)
    assert np.array_equal(pictures, images(whole))
    whole.unload_lora_weights()
    pipe.delete_adapters("it")
    unet.streaming.budget = least
    assert np.array_equal(images(pipe), images(whole))
    unet.streaming.close()


def test_adapters_of_all_parts_count_in_the_one_budget(demo_lzr2, files):
    pipe = quiet(streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu"))
    with pipe.streaming as parts:
        images(pipe)
        load(files["first"])(pipe)
        handles = parts.handles
        assert all(handles[part].in_memory_nbytes > 0 for part in PARTS)
        images(pipe)
        adapters = sum(handle.in_memory_nbytes for handle in handles.values())
        assert sum(handle.device_nbytes for handle in handles.values()) + adapters <= parts.budget_nbytes
        parts.share.nbytes = adapters
        with pytest.raises(PartBudgetError) as caught:
            images(pipe)
        assert caught.value.smallest_nbytes > adapters + handles["text_encoder"].device_nbytes


@pytest.mark.parametrize("name", ["first", "everywhere", "dora"])
@pytest.mark.parametrize("factor", [1.0, 1.8])
def test_with_adapters_never_more_is_held_than_the_budget_says(demo_lzr2, files, name, factor):
    pipe = quiet(streamer.load_pipeline(weights=demo_lzr2, device="cpu", threads=1))
    with pipe.streaming as parts:
        load(files[name])(pipe)
        parts.share.nbytes = 1
        with pytest.raises(PartBudgetError) as caught:
            parts.prepare(PictureSize(64, 64, guided=True))
        parts.share.nbytes = int(caught.value.smallest_nbytes * factor)
        parts.prepare(PictureSize(64, 64, guided=True))
        with LiveMemory() as live:
            images(pipe, num_inference_steps=1)
        adapters = sum(handle.in_memory_nbytes for handle in parts.handles.values())
        assert live.peak_nbytes + adapters <= parts.share.nbytes
        assert live.peak_nbytes > parts.unet.device_nbytes


FUSING: dict[str, Callable[[Any], Any]] = {
    "the pipeline": lambda pipe: pipe.fuse_lora(),
    "the pipeline, scaled": lambda pipe: pipe.fuse_lora(lora_scale=0.5),
    "the U-Net": lambda pipe: pipe.unet.fuse_lora(),
    "a text encoder": lambda pipe: pipe.fuse_lora(components=["text_encoder"]),
    "a text encoder, scaled": lambda pipe: pipe.fuse_lora(components=["text_encoder_2"], lora_scale=0.5),
    "a layer": lambda pipe: pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.merge(),
    "a layer, safely": lambda pipe: pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.merge(True),
}


@pytest.mark.parametrize("what", FUSING)
@pytest.mark.parametrize("ran", [False, True])
def test_fusing_says_what_to_do_instead_and_changes_nothing(both, files, streamed, what, ran):
    load(files["first"])(streamed)
    if ran:
        images(streamed)
    with pytest.raises(EvictedWeightsError, match=r"detach\(\)"):
        FUSING[what](streamed)
    streamed.unload_lora_weights()
    load(files["first"])(streamed)
    with pytest.raises(EvictedWeightsError, match="Leave it out"):
        FUSING[what](streamed)
    both(lambda pipe: pipe is streamed or load(files["first"])(pipe))
    assert streamed.num_fused_loras == 0


def test_what_is_fused_already_is_refused_before_it_would_be_lost(demo_safetensors, files):
    pipe = quiet(StableDiffusionXLPipeline.from_pretrained(DEMO, torch_dtype=torch.float32, add_watermarker=False))
    load(files["unet only"])(pipe)
    pipe.fuse_lora(components=["unet"])
    want = images(pipe)
    with pytest.raises(EvictedWeightsError, match="unfuse_lora"):
        streamer.attach(pipe.unet, demo_safetensors, device="cpu")
    assert np.array_equal(images(pipe), want)


def test_adapters_can_be_saved(both, files, streamed, whole, tmp_path):
    both(load(files["first"], "it"))
    want = load_file(files["first"])
    streamed.unet.save_lora_adapter(tmp_path / "unet", adapter_name="it")
    streamed.text_encoder.save_pretrained(tmp_path / "text_encoder")
    layers = {
        f"{part}_lora_layers": peft.get_peft_model_state_dict(getattr(streamed, part), adapter_name="it")
        for part in PARTS
    }
    StableDiffusionXLPipeline.save_lora_weights(tmp_path, weight_name="all.safetensors", **layers)
    assert_same(load_file(tmp_path / "all.safetensors"), want)
    unet = load_file(tmp_path / "unet" / "pytorch_lora_weights.safetensors")
    assert_same({f"unet.{key}": value for key, value in unet.items()}, _of(want, "unet."))
    text = load_file(tmp_path / "text_encoder" / "adapter_model.safetensors")
    text = {key.replace("base_model.model.", "text_encoder."): value for key, value in text.items()}
    assert_same(text, _of(want, "text_encoder."))


def test_asked_for_anything_else_no_weights_are_given(both, files, streamed, tmp_path):
    both(load(files["first"], "it"))
    for part in PARTS:
        with pytest.raises(EvictedWeightsError):
            getattr(streamed, part).state_dict()
    with pytest.raises(EvictedWeightsError):
        streamed.unet.save_pretrained(tmp_path)


def test_detached_it_is_an_ordinary_module_with_its_adapters(demo_lzr2, files, whole):
    unet = streamer.load_unet(demo_lzr2, vram_budget="9MB", device="cpu")
    pipe = quiet(
        StableDiffusionXLPipeline.from_pretrained(DEMO, unet=unet, torch_dtype=torch.float32, add_watermarker=False)
    )
    load(files["dora"], "it")(pipe)
    reference = copy.deepcopy(whole)
    load(files["dora"], "it")(reference)
    want = images(reference)
    assert np.array_equal(images(pipe), want)
    unet.streaming.detach()
    assert np.array_equal(images(pipe), want)
    for each in (pipe, reference):
        each.fuse_lora()
    assert np.array_equal(images(pipe), images(reference))
    mine, theirs = pipe.unet.state_dict(), reference.unet.state_dict()
    assert_same(mine, theirs)


def test_names_of_layers_that_cannot_be_placed_are_refused_in_words(whole, tmp_path):
    save_file({"text_encoder.strange.lora_up.foo": torch.zeros(2, 2)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsFileError, match="isn't a LoRA"):
        apply_loras(whole, [LoraFile(tmp_path / "x.safetensors")])


def assert_same(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def _of(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if key.startswith(prefix)}
