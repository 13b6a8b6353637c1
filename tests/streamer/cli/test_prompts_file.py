"""One line, one picture."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.cli.prompts_file import read_prompts
from streamer.errors import SettingError


def test_lines_without_comments_and_blanks(tmp_path):
    path = tmp_path / "p.txt"
    path.write_bytes("\ufeff# two of them\nred apple\r\n\n   \n  süße Äpfel 🍎  \n#blue\nno # comment".encode())
    assert read_prompts(str(path)) == ["red apple", "süße Äpfel 🍎", "no # comment"]


@given(
    st.lists(
        st.text(st.characters(exclude_categories=("C", "Z")), min_size=1).filter(lambda t: t[0] != "#"), min_size=1
    )
)
def test_every_line_is_a_prompt(tmp_path_factory, lines):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes("\n".join(lines).encode())
    assert read_prompts(str(path)) == lines


def test_from_the_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"sun\n#\nmoon")))
    assert read_prompts("-") == ["sun", "moon"]
    monkeypatch.setattr("sys.stdin", io.StringIO("star\n"))
    assert read_prompts("-") == ["star"]
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SettingError, match="no standard input"):
        read_prompts("-")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no prompt in it"),
        (b"# only\n\n", "no prompt in it"),
        (b"sun\n\xff\xfe\n", "line 2 isn't text"),
        (b"a\0b\n", "line 1 isn't text"),
    ],
)
def test_what_is_no_list_of_prompts_is_told(tmp_path, content, words):
    path = tmp_path / "p.txt"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=words):
        read_prompts(str(path))


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SettingError, match=r"gone\.txt: there is no such file"):
        read_prompts(str(tmp_path / "gone.txt"))
    with pytest.raises(SettingError, match="can't be read"):
        read_prompts(str(tmp_path))
