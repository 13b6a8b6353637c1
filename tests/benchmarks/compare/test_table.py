"""What the tables show: every runtime, every reason, and where it was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.compare.table import readme_table, size, whole_table
from tests.benchmarks.compare.made_up import OURS, PEER, REFUSED, RESIDENT, child, result


@pytest.fixture
def made():
    return result(
        [
            (RESIDENT, [child([2, 2], peak=2_000_000_000)]),
            (PEER, [child([6, 6])]),
            (OURS, [child([3, 3], digest="other", cold=[4])]),
            (REFUSED, [child(reason="there is no GPU")]),
        ]
    )


@pytest.mark.parametrize("table", [whole_table, readme_table])
def test_every_runtime_is_there_and_where_it_was_measured(made, table):
    text = table(made)
    for each in (RESIDENT, PEER, OURS, REFUSED):
        assert each.name in text
    assert "commit 0123456789ab" in text
    assert "with nothing of its files in the page cache, with OMP_NUM_THREADS=2" in text
    for fact in ("2026-01-02", "a processor", "torch 2", "1,234", made["command"], "a disk"):
        assert fact in text
    assert "mmgp None" not in text


def test_the_whole_table_has_reasons_and_goals(made):
    text = whole_table(made)
    assert "- mmgp: there is no GPU" in text
    assert "- not met: all results of this project equal" in text


def test_the_readmes_table_has_each_reason_once():
    refused = [replace(REFUSED, name=name) for name in ("mmgp", "mmgp, pinned", "other")]
    children = [child(reason="there is no GPU"), child(reason="there is no GPU"), child(reason="killed")]
    made = result([(RESIDENT, [child()]), *((one, [seen]) for one, seen in zip(refused, children, strict=True))])
    lines = [line for line in readme_table(made).splitlines() if line.startswith("- ")]
    assert lines == ["- mmgp; mmgp, pinned: there is no GPU", "- other: killed"]


@pytest.mark.parametrize("table", [whole_table, readme_table])
def test_each_line_of_a_table_has_as_many_cells(made, table):
    lines = [line for line in table(made).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1


def test_cells(made):
    by_name = {line.split("|")[1].strip(): line for line in readme_table(made).splitlines() if line.startswith("|")}
    ours = by_name[f"**{OURS.name}**"]
    assert [cell.strip() for cell in ours.split("|")[2:-1]] == [
        "1.50 (1.50 to 1.50)",
        "8 s",
        "1 KB",
        "800 B",
        "4 s",
        "0 B",
        "**no**, by up to 2e-01",
    ]
    assert by_name["resident"].split("|")[2].strip() == "1"
    assert "2.0 GB" in by_name["resident"]
    assert by_name["resident"].split("|")[6].strip() == "–"


def test_a_device_has_its_column_where_there_is_one(made):
    assert "on the device" not in readme_table(made)
    made["rows"][0]["device_nbytes"] = 5_000_000
    made["device"] = "cuda"
    assert "5 MB" in readme_table(made)


@pytest.mark.parametrize(("turns", "told"), [((1, 1), "Once each"), ((2, 2), "2 times each"), ((1, 3), "1 to 3 times")])
def test_it_is_told_how_often_each_had_its_turn_not_how_often_it_should_have(turns, told):
    peers, ours = turns
    ended = result([(RESIDENT, [child()] * 9), (PEER, [child()] * peers), (OURS, [child()] * ours)])
    assert told in readme_table(ended)


@pytest.mark.parametrize(
    ("nbytes", "shown"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (999.6, "1 KB"), (15_800_000_000, "15.8 GB"), (2e12, "2000.0 GB")],
)
def test_sizes(nbytes, shown):
    assert size(nbytes) == shown
