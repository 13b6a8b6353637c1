"""One picture after the other, and the summary of them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from streamer.cli.drawing import Drawing, Wishes
from streamer.cli.pictures import PictureNames
from streamer.cli.warnings import Warnings
from streamer.models.open import PipelineOptions, open_pipeline

NOTHING = Wishes(None, None, None, None, None)


@pytest.fixture
def draw(demo_lzr2, tmp_path):
    options = PipelineOptions(weights=demo_lzr2, device="cpu", vram_budget_nbytes=11_000_000)
    with open_pipeline(options, lambda line: None) as pipeline:
        console = Console(file=io.StringIO(), width=300)

        def make(wishes: Wishes, *, quiet: bool = False) -> tuple[Drawing, io.StringIO]:
            names = PictureNames(str(tmp_path) + "/", 2)
            return Drawing(pipeline, wishes, names, console, quiet=quiet, warnings=Warnings()), console.file

        yield make


def test_what_the_user_does_not_say_comes_from_the_model(draw):
    drawing, text = draw(Wishes(2, None, None, 72, "blue"))
    assert drawing.draw("sun", 4).name == "sun-4.png"
    (made,) = drawing.summary()["pictures"]
    assert (made["steps"], made["height"], made["negative"]) == (2, 72, "blue")
    assert (made["guidance"], made["width"]) == (2.5, 64)
    for words in ("demo on cpu", "This is the embedded demo", "blocks stay", "sun-4.png: seed 4, 2 steps"):
        assert words in text.getvalue()


def test_a_name_that_would_steer_the_terminal_is_escaped(demo_lzr2, tmp_path):
    text = io.StringIO()
    with open_pipeline(PipelineOptions(weights=demo_lzr2, device="cpu"), lambda line: None) as pipeline:
        names = PictureNames(str(tmp_path / "a\x1b[31mb.png"), 1)
        console = Console(file=text, width=300)
        Drawing(pipeline, Wishes(1, None, None, None, None), names, console, quiet=False, warnings=Warnings()).draw(
            "sun", 0
        )
    assert "a\\x1b[31mb.png: seed 0" in text.getvalue()
    assert "\x1b" not in text.getvalue()


def test_quiet_prints_nothing(draw):
    drawing, text = draw(Wishes(1, None, None, None, None), quiet=True)
    drawing.draw("sun", 0)
    assert text.getvalue() == ""


def test_before_the_first_picture_the_summary_is_empty(draw):
    drawing, _ = draw(NOTHING)
    summary = drawing.summary()
    assert summary["pictures"] == []
    assert summary["forwards"] == 0
    assert summary["median_forward_seconds"] is None
    assert summary["device_weights_nbytes"] <= 11_000_000


def test_what_of_the_prompts_is_not_read_is_told_even_when_quiet(draw, capfd):
    drawing, _ = draw(Wishes(1, None, None, None, "grey " * 80 + "snow"), quiet=True)
    drawing.draw("red apple " * 60 + "moon", 0)
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("The prompt is too long")
    assert told[0].endswith("moon")
    assert told[1].startswith("The negative prompt is too long")
    assert drawing.summary()["warnings"] == told


def test_a_negative_prompt_without_guidance_is_told(draw, capfd):
    drawing, _ = draw(Wishes(1, 1.0, None, None, "blue"), quiet=True)
    drawing.draw("sun", 0)
    assert "no effect" in capfd.readouterr().err
    drawing, _ = draw(Wishes(1, 2.0, None, None, "blue"), quiet=True)
    drawing.draw("sun", 0)
    assert capfd.readouterr().err == ""


def test_a_prompt_that_the_demo_cannot_know_is_told_even_when_quiet(draw, capfd):
    drawing, _ = draw(Wishes(1, None, None, None, None), quiet=True)
    drawing.draw("a red aple", 0)
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith('The demo doesn\'t know "aple". Did you mean "apple"')
    assert drawing.summary()["warnings"] == told
