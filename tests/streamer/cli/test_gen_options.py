"""Every option of ``streamer gen`` is explained, in a panel with its like."""

from __future__ import annotations

import typing

import typer
from typer.testing import CliRunner

from streamer.cli import gen_options
from streamer.cli.app import app


def test_each_option_has_help_and_a_panel():
    options = {
        name: next(meta for meta in typing.get_args(value) if hasattr(meta, "help"))
        for name, value in vars(gen_options).items()
        if typing.get_origin(value) is typing.Annotated
    }
    assert len(options) > 25
    assert [name for name, option in options.items() if not option.help] == []
    panels = {
        name: option.rich_help_panel for name, option in options.items() if isinstance(option, typer.models.OptionInfo)
    }
    assert [name for name, panel in panels.items() if panel is None] == []
    assert 5 <= len(set(panels.values())) <= 8


def test_ways_to_read_are_those_of_the_reader():
    assert {choice.value for choice in gen_options.ReadChoice} == {"auto", "mmap", "pread"}


def test_the_help_is_in_panels():
    shown = CliRunner().invoke(app, ["gen", "--help"], env={"COLUMNS": "120"}, terminal_width=120)
    assert shown.exit_code == 0
    for words in ("The picture", "The model", "Drawing from pictures", "LoRAs and refiner", "Many pictures"):
        assert words in shown.output
