"""Tables are as wide as they have to be; sizes and seconds read as a person writes them."""

from __future__ import annotations

from streamer.cli.tables import budget_text, new_table, print_table, seconds_text, size_text
from streamer.config import UNLIMITED


def test_nothing_is_cut(capsys):
    table = new_table("name", "number")
    table.add_row("n" * 150, "7")
    print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert "n" * 150 in lines[1]
    assert lines[1].rstrip().endswith("7")
    assert len(lines) == 2


def test_numbers_stand_to_the_right(capsys):
    table = new_table("name", "number")
    table.add_row("a", "1")
    table.add_row("b", "100000")
    print_table(table)
    assert len({len(line.rstrip()) for line in capsys.readouterr().out.splitlines()}) == 1


def test_texts():
    assert [seconds_text(s) for s in (0.0123, 1.234, 12.34)] == ["12.3 ms", "1.23 s", "12.3 s"]
    assert (size_text(0), size_text(5_140_000_000)) == ("-", "5.14 GB")
    assert (budget_text(UNLIMITED), budget_text(1_000_000_001)) == ("unlimited", "1.01GB")
