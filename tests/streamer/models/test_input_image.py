"""Pictures to draw from: read as they look, and refused by name."""

from __future__ import annotations

import contextlib
import hashlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from streamer.errors import ImageFileError, SettingError
from streamer.models.input_image import fitted_size, read_image, require_fitting_mask, same_proportions


def saved(path, image, **options):
    image.save(path, **options)
    return path


def test_pixels_name_and_digest(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(pixels))
    image = read_image(path)
    assert np.array_equal(np.asarray(image.pixels), pixels)
    assert image.size == (7, 5)
    assert image.settings() == {"file": "a.png", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert image.resized(7, 5) is image.pixels
    assert image.resized(8, 16).size == (8, 16)


def test_transparent_ones_lie_over_white(tmp_path):
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    read = read_image(saved(tmp_path / "a.png", image)).pixels
    assert [read.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (255, 255, 255)]


def test_turned_as_the_camera_was_held(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(saved(tmp_path / "a.jpg", Image.new("RGB", (8, 4)), exif=exif)).size == (4, 8)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "I;16", "F", "LA"])
def test_every_mode_becomes_colours_or_a_mask(tmp_path, mode):
    path = saved(tmp_path / ("a.tif" if mode in ("CMYK", "F") else "a.png"), Image.new(mode, (4, 4)))
    assert read_image(path).pixels.mode == "RGB"
    assert read_image(path, mask=True).pixels.mode == "L"


def test_sixteen_bits_keep_their_shades(tmp_path):
    values = np.array([[0, 257 * 100, 65535]], np.uint16)
    assert read_image(saved(tmp_path / "a.png", Image.fromarray(values)), mask=True).pixels.tobytes() == bytes(
        [0, 100, 255]
    )


def test_a_mask_stays_sharp(tmp_path):
    mask = Image.fromarray(np.array([[0, 255]], np.uint8))
    resized = np.asarray(read_image(saved(tmp_path / "m.png", mask), mask=True).resized(8, 8))
    assert set(np.unique(resized)) == {0, 255}


def whole_png() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(noise).save(file, "PNG")
        return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no picture"),
        (b"<html>", "no picture"),
        (whole_png()[:1000], "damaged or cut short"),
        (b"PK\x03\x04", "no picture"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, content, words):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(ImageFileError, match=words) as caught:
        read_image(path)
    assert caught.value.path == str(path)
    assert "bad.png" in str(caught.value)


@given(st.binary(max_size=200), st.integers(0, 3000))
def test_hostile_bytes_give_a_picture_or_the_error(tmp_path_factory, noise, at):
    path = tmp_path_factory.getbasetemp() / "any.png"
    content = bytearray(whole_png())
    content[at : at + len(noise)] = noise
    path.write_bytes(bytes(content))
    with contextlib.suppress(ImageFileError):
        assert read_image(path).pixels.mode == "RGB"


def test_what_is_not_there_or_a_folder_or_too_large_is_told(tmp_path, monkeypatch):
    with pytest.raises(ImageFileError, match="no such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ImageFileError, match="a directory"):
        read_image(tmp_path)
    monkeypatch.setattr("streamer.models.input_image._LARGEST_PIXELS", 15)
    with pytest.raises(ImageFileError, match="4 x 4 pixels"):
        read_image(saved(tmp_path / "a.png", Image.new("L", (4, 4))))


def test_a_mask_of_another_shape_is_refused(tmp_path):
    image = read_image(saved(tmp_path / "a.png", Image.new("RGB", (640, 480))))
    require_fitting_mask(image, read_image(saved(tmp_path / "m.png", Image.new("L", (320, 240))), mask=True))
    with pytest.raises(SettingError, match="480 x 640"):
        require_fitting_mask(image, read_image(saved(tmp_path / "n.png", Image.new("L", (480, 640))), mask=True))


SIDES = st.integers(8, 4096)


@given(SIDES, SIDES)
def test_the_drawn_size_has_the_proportions_and_about_the_models_pixels(width, height):
    drawn = fitted_size((width, height), None, None, (1024, 1024))
    assert all(side % 8 == 0 and side >= 8 for side in drawn)
    if 1 / 4 <= width / height <= 4:
        assert same_proportions((width, height), drawn)
        assert 0.97 <= drawn[0] * drawn[1] / 1024**2 <= 1.03


@given(SIDES, SIDES)
def test_what_the_user_says_of_the_size_holds(width, height):
    assert fitted_size((width, height), 512, 640, (64, 64)) == (512, 640)
    assert fitted_size((width, height), 512, None, (64, 64))[0] == 512
    assert fitted_size((width, height), None, 640, (64, 64))[1] == 640
    assert fitted_size((64, 64), None, None, (64, 64)) == (64, 64)
