"""A contact sheet: every picture at its place, whole or not there."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image

from streamer.cli import grid
from streamer.cli.grid import GridName, save_grid
from streamer.errors import ImageFileError, SettingError


def pictures(folder, sizes):
    paths = []
    for number, size in enumerate(sizes):
        paths.append(folder / f"{number}.png")
        Image.new("RGB", size, (number * 20, 255 - number * 20, 7)).save(paths[-1])
    return paths


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10])
def test_each_picture_is_there_in_order(tmp_path, count):
    paths = pictures(tmp_path, [(16, 8)] * count)
    save_grid(paths, tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png")
    columns = math.ceil(math.sqrt(count))
    assert sheet.size == (4 + columns * 20, 4 + -(-count // columns) * 12)
    for number, path in enumerate(paths):
        left, top = 4 + number % columns * 20, 4 + number // columns * 12
        assert np.array_equal(np.asarray(sheet.crop((left, top, left + 16, top + 8))), np.asarray(Image.open(path)))
    assert sheet.getpixel((0, 0)) == (255, 255, 255)
    assert json.loads(sheet.text["streamer"])["pictures"] == [path.name for path in paths]


def test_pictures_of_several_sizes_and_modes(tmp_path):
    paths = pictures(tmp_path, [(16, 8), (8, 16)])
    Image.new("L", (8, 8), 9).save(paths[0])
    save_grid(paths, tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.size == (4 + 2 * 12, 4 + 20)
    assert sheet.getpixel((4 + 4, 4 + 8)) == (9, 9, 9)
    assert sheet.getpixel((4 + 4, 4 + 1)) == (255, 255, 255)


def test_many_large_ones_become_small(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "_LARGEST_PIXELS", 1000)
    save_grid(pictures(tmp_path, [(100, 100)] * 4), tmp_path / "sheet.png")
    width, height = Image.open(tmp_path / "sheet.png").size
    assert (width - 12) * (height - 12) <= 1000


def test_one_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    paths = pictures(tmp_path, [(8, 8)])
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"before")
    monkeypatch.setattr("PIL.Image.Image.save", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        save_grid(paths, sheet)
    assert sheet.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "sheet.png"]


@pytest.mark.parametrize("damage", [b"", b"no picture", None])
def test_a_damaged_picture_is_named_and_nothing_is_written(tmp_path, damage):
    paths = pictures(tmp_path, [(64, 64), (64, 64)])
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(ImageFileError, match=r"1\.png"):
        save_grid(paths, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_a_picture_of_too_many_pixels_is_named(tmp_path, monkeypatch):
    paths = pictures(tmp_path, [(64, 64)])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64)
    with pytest.raises(ImageFileError, match="DecompressionBomb"):
        save_grid(paths, tmp_path / "sheet.png")


def test_a_name_chosen_here_is_new_and_one_of_the_users_stays(tmp_path):
    auto = GridName("auto", tmp_path)
    assert auto.path() == tmp_path / "grid.png"
    (tmp_path / "grid.png").touch()
    assert auto.path() == tmp_path / "grid-2.png"
    mine = tmp_path / "mine.png"
    mine.touch()
    assert GridName(str(mine), tmp_path).path() == mine


@pytest.mark.parametrize(("wanted", "words"), [("x.jpg", "PNG"), ("{}", "folder"), ("{}/new/", "folder")])
def test_where_it_cannot_be_is_told(tmp_path, wanted, words):
    with pytest.raises(SettingError, match=words):
        GridName(wanted.format(tmp_path), tmp_path)
