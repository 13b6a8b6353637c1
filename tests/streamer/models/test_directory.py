"""Which files a model needs, and what is said when it isn't one."""

from __future__ import annotations

import pytest

from streamer.errors import ModelError
from streamer.models.demo import demo_directory
from streamer.models.directory import PARTS, ModelDirectory, choose_files, find_model
from streamer.models.part_weights import PartWeights

OWN = PartWeights.of_files(())
REST = [part for part in PARTS if part != "unet"]

SDXL_FILES = [
    ".gitattributes",
    "LICENSE.md",
    "README.md",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "sd_xl_base_1.0.safetensors",
    "text_encoder/config.json",
    "text_encoder/flax_model.msgpack",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/model.onnx",
    "text_encoder/model.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model.fp16.safetensors",
    "text_encoder_2/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/model.onnx",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "vae/pytorch_model.bin",
]


def test_the_unets_weights_are_left_out_and_nothing_else_that_is_needed():
    chosen = choose_files(SDXL_FILES, REST)
    assert set(chosen) == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "text_encoder_2/config.json",
        "text_encoder_2/model.fp16.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "tokenizer_2/merges.txt",
        "tokenizer_2/vocab.json",
        "unet/config.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    }


def test_the_models_own_unet_is_fetched_when_asked_for():
    more = set(choose_files(SDXL_FILES)) - set(choose_files(SDXL_FILES, REST))
    assert more == {"unet/diffusion_pytorch_model.fp16.safetensors"}


def test_shards_and_their_index_belong_together():
    files = ["unet/diffusion_pytorch_model.safetensors.index.json"]
    files += [f"unet/diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    assert set(choose_files(files)) == set(files)


@pytest.mark.parametrize("index", ["model.fp16.safetensors.index.json", "model.safetensors.index.fp16.json"])
def test_shards_in_half_precision_come_with_their_index_and_without_the_plain_ones(index):
    half = [f"text_encoder_2/model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)] + [f"text_encoder_2/{index}"]
    plain = ["text_encoder_2/model.safetensors", "text_encoder_2/model.safetensors.index.json"]
    assert set(choose_files([*plain, *half], REST)) == set(half)


def test_nothing_with_code_or_pickles_is_ever_chosen():
    files = ["unet/my_unet.py", "text_encoder/pytorch_model.bin", "pipeline.py", "vae/x.pkl", "tokenizer/a.py"]
    assert choose_files(files) == ()


def test_a_directory_is_found_with_its_unet_files():
    model = find_model(str(demo_directory()), with_unet=False, notify=lambda line: None)
    assert model.variant is None
    assert model.config("unet")["_class_name"] == "UNet2DConditionModel"
    assert [path.name for path in model.unet_files()] == ["diffusion_pytorch_model.safetensors"]


@pytest.mark.parametrize(
    ("part", "half", "plain"),
    [
        ("text_encoder", "model.fp16.safetensors", "model.safetensors"),
        ("text_encoder_2", "model.fp16-00001-of-00002.safetensors", "model-00001-of-00002.safetensors"),
        ("vae", "diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.safetensors"),
    ],
)
def test_half_precision_files_are_a_variant_where_the_plain_ones_are_missing(tmp_path, part, half, plain):
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / part).mkdir()
    (tmp_path / part / half).touch()
    assert find_model(str(tmp_path), with_unet=False, notify=lambda line: None).variant == "fp16"
    (tmp_path / part / plain).touch()
    assert find_model(str(tmp_path), with_unet=False, notify=lambda line: None).variant is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-such-thing", "no such directory"),
        ("{tmp}", "no model_index.json"),
        ("{tmp}/file", "a file, not a model directory"),
        ("../../etc", "no such directory|no model_index.json"),
    ],
)
def test_what_is_no_model_is_told_in_words(tmp_path, name, words):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match=words):
        find_model(name.format(tmp=tmp_path), with_unet=False, notify=lambda line: None)


@pytest.mark.parametrize("content", [None, "{", "[1]", "[" * 100_000])
def test_a_damaged_configuration_is_told_in_words(tmp_path, content):
    (tmp_path / "unet").mkdir()
    if content is not None:
        (tmp_path / "unet" / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"config\.json"):
        ModelDirectory("m", tmp_path, None).config("unet")


def test_the_files_and_the_class_of_a_part(tmp_path):
    (tmp_path / "model_index.json").write_text(
        '{"text_encoder": [null, null], "text_encoder_2": ["transformers", "X"], "vae": 5}'
    )
    model = ModelDirectory("m", tmp_path, None)
    assert model.part_class("text_encoder") is None
    assert model.part_class("text_encoder_2") == "X"
    for part in ("vae", "unet"):
        with pytest.raises(ModelError, match=rf"model_index\.json says .* of {part}"):
            model.part_class(part)
    with pytest.raises(ModelError, match="text_encoder has no weights in safetensors"):
        model.part_files("text_encoder")
    with pytest.raises(ModelError, match="text_encoder has no weights in safetensors"):
        model.part_weights("text_encoder")
    assert ModelDirectory("m", tmp_path, None, {"text_encoder": OWN}).part_weights("text_encoder") is OWN
    (tmp_path / "text_encoder").mkdir()
    half, plain = tmp_path / "text_encoder" / "model.fp16.safetensors", tmp_path / "text_encoder" / "model.safetensors"
    half.touch()
    assert model.part_files("text_encoder") == (half,)
    plain.touch()
    assert model.part_files("text_encoder") == (plain,)


def test_for_a_plan_only_small_files_are_fetched():
    chosen = choose_files(SDXL_FILES, ())
    assert "unet/config.json" in chosen
    assert not [file for file in chosen if file.endswith(".safetensors")]
    assert set(choose_files(SDXL_FILES, ("unet",))) > set(chosen)
