"""Every option of ``streamer gen`` is explained, in a panel with its like."""

from __future__ import annotations

import typing

import typer

from streamer.cli import gen_options


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
