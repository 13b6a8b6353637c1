"""What the demo says about itself."""

from __future__ import annotations

from streamer.cli.demo_prompts import introduction, list_prompts
from streamer.models.demo import demo_concepts
from streamer.models.demo.words import not_understood


def test_each_line_is_a_prompt_that_it_draws(capsys):
    list_prompts(quiet=False)
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert sorted(lines) == sorted(demo_concepts())
    assert all(not_understood(line) is None for line in lines)
    for example in ("blue cat face", "star on yellow background"):
        assert example in printed.err
        assert not_understood(example) is None


def test_quietly_only_the_prompts(capsys):
    list_prompts(quiet=True)
    assert capsys.readouterr().err == ""


def test_one_line_says_that_it_is_the_demo_and_how_to_use_another():
    line = introduction()
    assert "\n" not in line
    for words in ("demo", "148 things", "--demo-prompts", "--weights", "--model stabilityai/"):
        assert words in line
