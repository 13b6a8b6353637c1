"""The README's table: what the result says, checked and written, and clear words where it can't be."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.compare.table import in_words, readme_table
from tests.benchmarks.compare.made_up import OURS, PEER, RESIDENT, child, result

TOOL = Path(__file__).parents[2] / "tools" / "readme_table.py"
BEGIN, END = "<!-- compared: results/a.json -->", "<!-- end of compared -->"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_table", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made():
    return result([(RESIDENT, [child()]), (PEER, [child([3, 3])]), (OURS, [child([2, 2])])])


@pytest.fixture
def place(tmp_path, made):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.json").write_text(json.dumps(made), "utf-8")
    (tmp_path / "README.md").write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n", "utf-8")
    return tmp_path


def run(tool, place, *more):
    return tool.main(["--readme", str(place / "README.md"), "--root", str(place), *more])


def test_the_table_is_written_and_nothing_else_changes(tool, place, made):
    assert run(tool, place) == 0
    text = (place / "README.md").read_text("utf-8")
    assert text == f"before\n\n{BEGIN}\n\n{readme_table(made)}\n{END}\n\nafter\n"


def test_writing_twice_is_writing_once(tool, place):
    run(tool, place)
    once = (place / "README.md").read_text("utf-8")
    run(tool, place)
    assert (place / "README.md").read_text("utf-8") == once


def test_a_check_of_what_was_written_passes(tool, place):
    run(tool, place)
    assert run(tool, place, "--check") == 0


def test_a_check_of_another_table_fails_shows_how_and_writes_nothing(tool, place, capsys):
    before = (place / "README.md").read_text("utf-8")
    assert run(tool, place, "--check") == 1
    assert "-old" in capsys.readouterr().err
    assert (place / "README.md").read_text("utf-8") == before


def test_a_sentence_says_what_one_runtime_takes(tool, place, made):
    readme = place / "README.md"
    made["model"]["name"] = "full"
    (place / "results" / "a.json").write_text(json.dumps(made), "utf-8")
    words = BEGIN.replace(" -->", f"; in words: {OURS.name} -->")
    readme.write_text(f"{words}\n{END}\n{BEGIN}\n{END}\n", "utf-8")
    assert run(tool, place) == 0
    sentence, table = readme.read_text("utf-8").split(END)[:2]
    row = next(row for row in made["rows"] if row["name"] == OURS.name)
    assert in_words(made, OURS.name) in sentence
    assert f"a step takes {row['against_resident']['median']:.2f} times as long" in " ".join(sentence.split())
    assert made["command"] not in sentence  # how it was measured stands under the table
    assert made["command"] in table
    assert run(tool, place, "--check") == 0


@pytest.mark.parametrize(
    ("named", "changed"),
    [
        ("nobody", {}),
        (PEER.name, {}),
        (OURS.name, {"equal": False}),
        (OURS.name, {"equal": None}),
        (OURS.name, {"peak_nbytes": None}),
        (OURS.name, {"against_resident": None}),
        (OURS.name, "demo"),
    ],
)
def test_a_sentence_that_would_say_more_than_was_measured_is_refused(tool, place, made, named, changed, capsys):
    made["model"]["name"] = "demo" if changed == "demo" else "full"
    row = next(row for row in made["rows"] if row["name"] == OURS.name)
    row.update({} if changed == "demo" else changed)
    (place / "results" / "a.json").write_text(json.dumps(made), "utf-8")
    words = BEGIN.replace(" -->", f"; in words: {named} -->")
    (place / "README.md").write_text(f"{words}\n{END}\n", "utf-8")
    assert run(tool, place) == 1
    assert "nothing can be said" in capsys.readouterr().err


@pytest.mark.parametrize("changed", ["readme", "result"])
def test_a_check_finds_one_figure_changed_on_either_side(tool, place, made, changed):
    run(tool, place)
    if changed == "readme":
        path = place / "README.md"
        path.write_text(path.read_text("utf-8").replace("3.00", "2.99", 1), "utf-8")
    else:
        made["rows"][1]["against_resident"]["median"] = 2.99
        (place / "results" / "a.json").write_text(json.dumps(made), "utf-8")
    assert run(tool, place, "--check") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [("nothing", "no comment"), (f"{BEGIN}\nopen", "isn't followed"), (f"{END}\n{BEGIN}\n", "isn't followed")],
)
def test_wrong_comments_are_told(tool, place, capsys, text, said):
    (place / "README.md").write_text(text, "utf-8")
    assert run(tool, place, "--check") == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "", "[]", '{"rows": []}'])
def test_a_result_that_is_none_is_told(tool, place, capsys, content):
    path = place / "results" / "a.json"
    path.unlink()
    if content is not None:
        path.write_text(content, "utf-8")
    assert run(tool, place) == 1
    assert "a.json" in capsys.readouterr().err
    assert "old" in (place / "README.md").read_text("utf-8")


def test_a_place_may_tell_of_some_runtimes_and_the_last_says_how_it_was_measured(tool, place, made):
    some = BEGIN.replace(" -->", "; only: ^resident|this project -->")
    (place / "README.md").write_text(f"{some}\n{END}\n\n{BEGIN}\n{END}\n", "utf-8")
    assert run(tool, place) == 0
    first, second = (place / "README.md").read_text("utf-8").split(f"{END}\n\n{BEGIN}")
    assert [PEER.name in part for part in (first, second)] == [False, True]
    assert [OURS.name in part for part in (first, second)] == [True, True]
    assert ["Measured" in part for part in (first, second)] == [False, True]
    assert run(tool, place, "--check") == 0


def test_what_is_no_regular_expression_is_told(tool, place, capsys):
    (place / "README.md").write_text(f"{BEGIN.replace(' -->', '; only: ( -->')}\n{END}\n", "utf-8")
    assert run(tool, place) == 1
    assert "regular expression" in capsys.readouterr().err
