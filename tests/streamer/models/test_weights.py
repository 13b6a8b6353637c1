"""Weights that a user gives: what fits is used, what differs is told, nothing is passed over silently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import lzr2
from streamer.errors import WeightsFileError, WeightsMismatchError
from streamer.models.weights import open_file, open_weights

EXPECTED = {"a.weight": (2, 3), "b.bias": (4,)}


def tensors(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    given = {"a.weight": np.arange(6, dtype=np.float16).reshape(2, 3), "b.bias": np.ones(4, np.float16)}
    given |= {key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in given.items() if value is not None}


def opened(path: Path, base: tuple[Path, ...] = (), strict: bool = True):
    lines: list[str] = []
    source = open_weights(path, base, EXPECTED, strict=strict, io="auto", warn=lines.append)
    return source, "\n".join(lines)


def values(source, key: str) -> list[float]:
    out = torch.empty(EXPECTED[key])
    source.read_into(key, out)
    return out.flatten().tolist()


@pytest.mark.parametrize("kind", ["lzr2", "safetensors", "folder"])
def test_every_kind_of_file_is_known_by_its_content(tmp_path, kind):
    path = tmp_path / "weights.any"
    if kind == "lzr2":
        lzr2.save_file(tensors(), path)
    elif kind == "safetensors":
        save_file(tensors(), path)
    else:
        path.mkdir()
        save_file(tensors(b__bias=None), path / "1.safetensors")
        save_file(tensors(a__weight=None), path / "2.safetensors")
    source, told = opened(path)
    assert values(source, "a.weight") == [0, 1, 2, 3, 4, 5]
    assert told == ""
    source.close()


def test_missing_tensors_come_from_the_base_and_that_is_told(tmp_path):
    lzr2.save_file(tensors(b__bias=None), tmp_path / "part.lzr2")
    save_file(tensors(a__weight=np.zeros((2, 3), np.float16)), tmp_path / "base.safetensors")
    source, told = opened(tmp_path / "part.lzr2", (tmp_path / "base.safetensors",))
    assert values(source, "a.weight") == [0, 1, 2, 3, 4, 5]
    assert values(source, "b.bias") == [1, 1, 1, 1]
    assert "1 tensors that" in told
    assert "base.safetensors" in told
    source.close()


def test_missing_tensors_without_a_base_are_listed(tmp_path):
    lzr2.save_file(tensors(b__bias=None), tmp_path / "part.lzr2")
    for strict in (True, False):
        with pytest.raises(WeightsMismatchError, match=r"b\.bias") as caught:
            opened(tmp_path / "part.lzr2", strict=strict)
        assert caught.value.missing == ("b.bias",)


def test_unknown_tensors_are_an_error_or_told(tmp_path):
    path = tmp_path / "more.lzr2"
    lzr2.save_file(tensors(extra=np.ones((2, 2), np.float16)), path)
    with pytest.raises(WeightsMismatchError, match="extra") as caught:
        opened(path)
    assert caught.value.unknown == ("extra",)
    source, told = opened(path, strict=False)
    assert "extra" in told
    assert values(source, "b.bias") == [1, 1, 1, 1]
    source.close()


def test_another_shape_is_an_error_or_comes_from_the_base(tmp_path):
    path = tmp_path / "other.lzr2"
    lzr2.save_file(tensors(a__weight=np.ones((3, 2), np.float16)), path)
    save_file(tensors(), tmp_path / "base.safetensors")
    for base, strict in (((), True), ((tmp_path / "base.safetensors",), True), ((), False)):
        with pytest.raises(WeightsMismatchError, match=r"a\.weight: found 3x2, expected 2x3"):
            opened(path, base, strict)
    source, told = opened(path, (tmp_path / "base.safetensors",), strict=False)
    assert values(source, "a.weight") == [0, 1, 2, 3, 4, 5]
    assert "another shape" in told
    source.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"PK\x03\x04" + b"0" * 40, "zip"),
        (b"", "empty"),
        (b"LZR2\x05\x00\x00\x00abc", "truncated|too early|incomplete"),
    ],
)
def test_what_is_no_weight_file_is_named(tmp_path, content, words):
    path = tmp_path / "weights.lzr2"
    path.write_bytes(content)
    with pytest.raises(WeightsFileError, match=words):
        open_file(path, "auto")


def test_of_two_sets_in_a_folder_the_plain_one_is_taken(tmp_path):
    for variant, value in (("", 1.0), (".fp16", 2.0)):
        save_file(
            tensors(b__bias=np.full(4, value, np.float16)), tmp_path / f"diffusion_pytorch_model{variant}.safetensors"
        )
    source, _ = opened(tmp_path)
    assert values(source, "b.bias") == [1, 1, 1, 1]
    source.close()


@pytest.mark.parametrize("strict", [True, False])
def test_quantised_weights_are_refused(tmp_path, strict):
    save_file(tensors(b__bias=np.ones(4, np.int8)), tmp_path / "w.safetensors")
    with pytest.raises(WeightsFileError, match=r"1 tensors hold whole numbers \(torch.int8\), b.bias for one"):
        opened(tmp_path / "w.safetensors", strict=strict)


def test_what_is_named_without_values_is_unknown_or_of_another_shape_too(tmp_path):
    path = tmp_path / "w.lzr2"
    with lzr2.Writer(path) as writer:
        writer.add("a.weight", tensors()["a.weight"])
        writer.add_without_payload("b.bias", (5,))
        writer.add_without_payload("extra", (2, 2))
    save_file(tensors(), tmp_path / "base.safetensors")
    with pytest.raises(WeightsMismatchError, match="extra") as caught:
        opened(path, (tmp_path / "base.safetensors",))
    assert caught.value.unknown == ("extra",)
    assert caught.value.wrong_shape == (("b.bias", (5,), (4,)),)
    source, told = opened(path, (tmp_path / "base.safetensors",), strict=False)
    assert "extra" in told
    assert "b.bias" in told
    assert values(source, "b.bias") == [1, 1, 1, 1]
    source.close()


def test_a_record_that_a_later_one_replaces_is_looked_at_too(tmp_path):
    path = tmp_path / "w.lzr2"
    with lzr2.Writer(tmp_path / "first.lzr2") as writer:
        writer.add("b.bias", np.zeros(5, np.float16))
    lzr2.save_file(tensors(), tmp_path / "second.lzr2")
    path.write_bytes((tmp_path / "first.lzr2").read_bytes() + (tmp_path / "second.lzr2").read_bytes()[4:])
    with pytest.raises(WeightsMismatchError, match=r"b\.bias: found 5, expected 4"):
        opened(path)
    source, _ = opened(path, strict=False)
    assert values(source, "b.bias") == [1, 1, 1, 1]
    source.close()


def test_tensors_in_the_original_layout_are_found_and_strangers_among_them_are_told(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"model.diffusion_model.input_blocks.0.0.bias": np.full(4, 2, np.float16)}, path)
    source = open_weights(path, (), {"conv_in.bias": (4,)}, strict=True, io="auto", warn=pytest.fail)
    out = torch.empty(4)
    source.read_into("conv_in.bias", out)
    assert out.tolist() == [2] * 4
    source.close()
    with pytest.raises(WeightsMismatchError, match=r"conv_out.bias would be called model.diffusion_model.out.2.bias"):
        open_weights(path, (), {"conv_in.bias": (4,), "conv_out.bias": (4,)}, strict=True, io="auto", warn=pytest.fail)
    with pytest.raises(WeightsMismatchError) as caught:
        open_weights(path, (), {"conv_out.bias": (4,)}, strict=True, io="auto", warn=pytest.fail)
    assert caught.value.unknown == ("model.diffusion_model.input_blocks.0.0.bias",)


def test_a_module_whose_own_names_are_those_of_the_original_layout_keeps_them(tmp_path):
    names = {"input_blocks.0.0.bias": (4,), "input_hint_block.0.bias": (4,)}
    save_file({key: np.ones(4, np.float16) for key in names}, tmp_path / "w.safetensors")
    source = open_weights(tmp_path / "w.safetensors", (), names, strict=True, io="auto", warn=pytest.fail)
    assert set(source.keys()) == set(names)
    source.close()


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.lzr2", "weights"])
def test_what_is_no_weight_file_is_told_as_what_it_is_named(tmp_path, name):
    path = tmp_path / name
    path.write_text("<!DOCTYPE html><html>Not found</html>")
    wanted = "safetensors" if path.suffix == ".safetensors" else "LZR2"
    with pytest.raises(WeightsFileError, match=f"not an? {wanted} file"):
        open_file(path, "auto")
