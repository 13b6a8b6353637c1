"""What is read while libraries are imported: the U-Net's weights, wherever the user says they are."""

from __future__ import annotations

import os
from types import SimpleNamespace

import psutil
import pytest

from streamer.models.head_start import head_start

STEM = "diffusion_pytorch_model"


def read(*given, **named) -> int:
    with head_start(*given, **named) as ahead:
        ahead.wait()
    return ahead.read_nbytes


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr("streamer.models.head_start.processors", lambda: 2)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights.lzr2"
    path.write_bytes(os.urandom(1000))
    return path


@pytest.fixture
def model(tmp_path):
    unet = tmp_path / "model" / "unet"
    unet.mkdir(parents=True)
    (tmp_path / "model" / "model_index.json").touch()
    (unet / f"{STEM}.safetensors").write_bytes(bytes(70))
    (unet / f"{STEM}.fp16.safetensors").write_bytes(bytes(35))
    return unet.parent


def test_a_file_is_read(file):
    assert read(file) == read(str(file)) == 1000


def test_of_a_folder_the_set_is_read_that_will_be_opened(model):
    assert read(model / "unet") == 70


def test_without_weights_the_models_own_are_read(model, file):
    assert read(None, model) == read(None, str(model)) == 70
    assert read(file, model) == 1000


def test_a_base_counts_after_weights_and_before_the_model_as_when_they_are_opened(model, file, tmp_path):
    base = tmp_path / "base.safetensors"
    base.write_bytes(bytes(9))
    assert read(None, model, base) == 9
    assert read(file, model, base) == 1000
    assert read(None, None, model) == read(None, None, str(model)) == 70  # a whole model
    assert read(None, None, model / "unet") == 70


def test_a_home_is_found(model, monkeypatch):
    monkeypatch.setenv("HOME", str(model.parent))
    monkeypatch.setenv("USERPROFILE", str(model.parent))
    assert read(None, "~/model") == 70
    assert read(None, "~nobody-of-that-name/model") == 0


def test_what_is_not_on_this_machine_is_left(tmp_path, model):
    assert read(None) == read(None, "stabilityai/stable-diffusion-xl-base-1.0") == read(None, "demo") == 0
    assert read(tmp_path / "gone") == read(tmp_path) == read("a\0b") == read(None, "a\0b") == 0


def test_no_more_is_read_than_half_of_what_is_free(file, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=600))
    assert read(file) == 300


def test_one_processor_has_enough_to_do(file, monkeypatch):
    monkeypatch.setattr("streamer.models.head_start.processors", lambda: 1)
    assert read(file) == 0


def test_where_decoded_weights_are_the_others_are_left(file, tmp_path):
    spill = tmp_path / "spill"
    assert read(file, spill=spill) == 1000
    spill.mkdir()
    assert read(file, spill=str(spill)) == 1000
    (spill / "other.safetensors").touch()
    assert read(file, spill=spill) == 1000
    (spill / "streamer-1.safetensors").touch()
    assert read(file, spill=spill) == 0
