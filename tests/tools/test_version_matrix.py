"""What the table of versions says, and that the oldest set is the one that pyproject.toml allows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.tools.load_tool import load_tool

tool = load_tool("version_matrix")
PROJECT = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")


def test_how_tests_ended_is_read_and_told(tmp_path):
    (tmp_path / "report.xml").write_text(
        '<testsuites><testsuite><testcase classname="a" name="x"/>'
        '<testcase classname="a" name="y"><failure/></testcase>'
        '<testcase classname="a" name="z"><skipped/></testcase><testcase classname="a" name="e"><error/></testcase>'
        "</testsuite></testsuites>"
    )
    assert tool.read_report(tmp_path / "report.xml") == (1, 1, ("a.y", "a.e"))
    versions = dict.fromkeys(tool.TOLD, "1.0")
    lines = tool.table({"oldest": tool.Result("3.10.1", versions, 1, 1, ("a.y",))}).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| oldest | 3.10.1 | 1.0 |")
    assert lines[2].endswith("| 1 | 1 | 1 |")


@pytest.mark.parametrize("pin", tool.SETS[0].pins)
def test_the_oldest_versions_are_the_lower_bounds(pin):
    name, version = pin.split("==")
    bound = re.search(rf'"{name}>=([0-9.]+)', PROJECT)
    assert bound is not None
    assert tuple(map(int, version.split("."))) >= tuple(map(int, bound[1].split(".")))
    assert version.startswith(bound[1].rpartition(".")[0])


def test_versions_are_asked_of_the_environment():
    found = tool.installed(Path(sys.executable))
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(found) == {"python", *tool.TOLD}
