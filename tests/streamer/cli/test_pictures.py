"""Names of pictures, and files that are whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from streamer.cli.pictures import PictureNames, save, slug
from streamer.errors import SettingError
from streamer.models.pipeline import Request

REQUEST = Request("süße Äpfel 🍎", None, 1, 2, 3.0, 64, 64)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("prompt", "name"),
    [("Red Apple!", "red-apple"), ("../../etc/passwd", "etc-passwd"), ("🍎", "picture"), ("a" * 99, "a" * 40)],
)
def test_a_prompt_as_a_part_of_a_name(prompt, name):
    assert slug(prompt) == name


def test_names_chosen_here_are_never_taken(here):
    names = PictureNames(None, 3)
    for want in ("sun-7.png", "sun-7-2.png", "sun-7-3.png"):
        path = names.next("sun", 7)
        assert str(path) == want
        path.touch()


def test_a_file_of_the_users_for_one_picture_is_that_file_and_for_several_numbered(here):
    assert str(PictureNames("a.png", 1).next("x", 1)) == "a.png"
    assert str(PictureNames("a", 1).next("x", 1)) == "a.png"
    names = PictureNames("b/a.png", 2)
    assert [str(names.next("x", 1)) for _ in range(2)] == [str(Path("b") / f"a-{i}.png") for i in (1, 2)]
    assert str(PictureNames("a.png", None).next("x", 1)) == "a-1.png"


def test_a_directory_of_the_users_is_made_if_it_has_to_be(here):
    (here / "there").mkdir()
    assert PictureNames("there", 1).next("sun", 1).parent.name == "there"
    assert PictureNames("new/", 1).next("sun", 1).parent.is_dir()


def test_other_kinds_of_pictures_are_refused():
    with pytest.raises(SettingError, match=r"a\.png"):
        PictureNames("a.jpeg", 1)


def test_what_it_was_made_from_is_in_the_file(here):
    save(Image.new("RGB", (8, 8)), here / "a.png", REQUEST, {"model": "demo", "weights": "w.lzr2"})
    with Image.open(here / "a.png") as picture:
        assert picture.text["prompt"] == REQUEST.prompt
        made = json.loads(picture.text["streamer"])
    assert made["prompt"] == REQUEST.prompt
    assert (made["seed"], made["steps"], made["model"], made["weights"]) == (1, 2, "demo", "w.lzr2")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there_and_nothing_else(here, error):
    (here / "a.png").write_bytes(b"old")

    class Failing:
        def save(self, path, **_):
            path.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        save(Failing(), here / "a.png", REQUEST, {})
    assert [path.name for path in here.iterdir()] == ["a.png"]
    assert (here / "a.png").read_bytes() == b"old"


def test_without_an_end_in_sight_the_names_are_numbered(here):
    names = PictureNames(None, None)
    assert [str(names.next(prompt, 5)) for prompt in ("sun", "red star")] == ["1-sun-5.png", "2-red-star-5.png"]


@pytest.mark.parametrize("output", ["file/", "file/a.png", "file/more/", "file/more/a.png"])
def test_below_a_file_nothing_can_be_written(here, output):
    (here / "file").touch()
    with pytest.raises(SettingError, match="is a file"):
        PictureNames(output, 1)
