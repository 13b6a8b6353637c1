"""The manifest: what it says is there, whatever ended the process that wrote it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.cli.manifest import FILE_NAME, Entry, Manifest, digest

ENTRY = Entry("süße Äpfel 🍎", 7, "abc", "a.png")


def never(line: str) -> None:
    raise AssertionError(line)


def with_entries(folder, *entries):
    for entry in entries:
        (folder / entry.path).touch()
        Manifest(folder, never).add(entry)
    return Manifest(folder, never)


def test_an_entry_is_taken_once(tmp_path):
    manifest = with_entries(tmp_path, ENTRY)
    assert manifest.take(ENTRY.prompt, 7, "abc") == ENTRY
    assert manifest.take(ENTRY.prompt, 7, "abc") is None


@pytest.mark.parametrize(
    ("prompt", "seed", "settings"), [("x", 7, "abc"), (ENTRY.prompt, 8, "abc"), (ENTRY.prompt, 7, "d")]
)
def test_what_differs_is_not_there(tmp_path, prompt, seed, settings):
    assert with_entries(tmp_path, ENTRY).take(prompt, seed, settings) is None


def test_without_a_seed_any_does(tmp_path):
    manifest = with_entries(tmp_path, ENTRY, replace(ENTRY, seed=9, path="b.png"))
    assert [manifest.take(ENTRY.prompt, None, "abc").path for _ in range(2)] == ["a.png", "b.png"]
    assert manifest.take(ENTRY.prompt, None, "abc") is None


def test_a_picture_that_was_deleted_is_not_there(tmp_path):
    with_entries(tmp_path, ENTRY)
    (tmp_path / "a.png").unlink()
    assert Manifest(tmp_path, never).take(ENTRY.prompt, 7, "abc") is None


@given(st.integers(0, 200))
def test_broken_off_anywhere_the_lines_before_count_and_the_next_is_whole(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("m")
    entries = [replace(ENTRY, seed=seed, path=f"{seed}.png") for seed in range(3)]
    with_entries(folder, *entries)
    path = folder / FILE_NAME
    whole = path.read_bytes()
    kept = whole[: max(0, len(whole) - cut)]
    path.write_bytes(kept)
    told: list[str] = []
    later = replace(ENTRY, seed=99, path="99.png")
    (folder / "99.png").touch()
    Manifest(folder, told.append).add(later)
    # A line that lacks only its end is whole.
    lines = [line for line in kept.split(b"\n") if line]
    complete = [line for line in lines if line in whole.split(b"\n")]
    assert len(told) == (len(lines) > len(complete))
    again = Manifest(folder, told.append)
    found = [seed for seed in (0, 1, 2, 99) if again.take(ENTRY.prompt, seed, "abc")]
    assert found == [*range(len(complete)), 99]


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b"{}", b'{"prompt": 1, "seed": 1, "settings": "", "path": "a"}', b"\xff",
     b'{"prompt": "x", "seed": true, "settings": "abc", "path": "a.png"}',
     b'{"prompt": "x", "seed": 1, "settings": "abc", "path": "../a.png"}',
     b'{"prompt": "x", "seed": 1, "settings": "abc", "path": "\\u0000"}'],
)  # fmt: skip
def test_lines_that_make_no_sense_are_told_and_passed_over(tmp_path, line):
    with_entries(tmp_path, ENTRY)
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(line + b"\n")
    told: list[str] = []
    manifest = Manifest(tmp_path, told.append)
    assert manifest.take(ENTRY.prompt, 7, "abc") == ENTRY
    assert len(told) == 1
    assert "1 lines" in told[0]


@given(st.lists(st.sampled_from(["a", "b"]), max_size=6), st.lists(st.sampled_from(["a", "b"]), max_size=6))
def test_as_many_are_there_as_were_drawn(tmp_path_factory, drawn, wanted):
    folder = tmp_path_factory.mktemp("m")
    (folder / "x.png").touch()
    for prompt in drawn:
        Manifest(folder, never).add(Entry(prompt, 1, "s", "x.png"))
    manifest = Manifest(folder, never)
    found = Counter(prompt for prompt in wanted if manifest.take(prompt, 1, "s"))
    assert found == Counter(drawn) & Counter(wanted)


def test_the_digest_tells_settings_apart_and_not_their_order():
    assert digest({"a": 1, "b": [1, {"c": "ä"}]}) == digest({"b": [1, {"c": "ä"}], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2}) != digest({"b": 2})
