"""The guard: passes what is as recorded, fails what is worse and names it, and forgives one bad measurement."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks import guard
from benchmarks.guard import Guarded, check, read, record, worse

RECORDED = {"decode": Guarded(0.1, 1.5, "decode by numpy"), "stream": Guarded(1.1, 1.2, "stream by resident")}
GOOD = {"decode": 0.1, "stream": 1.1}


class Machine:
    """Gives one made-up measurement after the other."""

    def __init__(self, *measurements):
        self.measurements = list(measurements)
        self.asked = []

    def __call__(self, names):
        self.asked.append(sorted(names))
        measured = self.measurements.pop(0)
        return {name: value for name, value in measured.items() if name in names}


def names_found(machine):
    return [each.name for each in check(RECORDED, machine, lambda line: None)]


def test_what_is_as_recorded_passes_with_one_measurement():
    machine = Machine(GOOD)
    assert names_found(machine) == []
    assert machine.asked == [["decode", "stream"]]


def test_what_is_better_passes():
    assert names_found(Machine({"decode": 0.01, "stream": 0.5})) == []


@pytest.mark.parametrize(("decode", "found"), [(0.1499, []), (0.1501, ["decode"])])
def test_the_tolerance_is_where_it_is_said_to_be(decode, found):
    assert names_found(Machine(GOOD | {"decode": decode}, {"decode": decode})) == found


def test_what_is_worse_twice_fails_and_is_named_with_its_figures():
    lines = []
    machine = Machine(GOOD | {"stream": 1.7}, {"stream": 1.6})
    (found,) = check(RECORDED, machine, lines.append)
    assert (found.name, found.measured) == ("stream", 1.6)
    for fact in ("stream", "1.6", "1.32", "1.1", "1.2", "stream by resident"):
        assert fact in str(found)
    assert any("decode: 0.1 " in line for line in lines)


def test_one_bad_measurement_is_forgiven_and_only_that_one_is_repeated():
    machine = Machine(GOOD | {"stream": 9.0}, {"stream": 1.1})
    assert names_found(machine) == []
    assert machine.asked == [["decode", "stream"], ["stream"]]


def test_all_that_got_worse_are_named():
    assert names_found(Machine({"decode": 1, "stream": 9}, {"decode": 2, "stream": 8})) == ["decode", "stream"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_fails(value):
    assert names_found(Machine(GOOD | {"stream": value}, {"stream": value})) == ["stream"]


def test_a_measurement_is_better_than_none():
    assert names_found(Machine(GOOD | {"stream": math.nan}, {"stream": 1.1})) == []
    assert names_found(Machine(GOOD | {"stream": 5.0}, {"stream": math.nan})) == ["stream"]


@pytest.mark.parametrize("measured", [{"decode": 0.1}, GOOD | {"other": 1.0}])
def test_a_ratio_that_is_recorded_or_measured_alone_is_an_error(measured):
    with pytest.raises(KeyError, match="differ"):
        check(RECORDED, lambda names: measured, lambda line: None)


def test_only_what_was_measured_is_compared():
    assert worse(RECORDED, {"decode": 9.0})[0].name == "decode"
    assert worse(RECORDED, {}) == []


def test_recording_keeps_tolerances_and_what_is_recorded_passes(tmp_path):
    path = tmp_path / "guard.json"
    record(path, RECORDED, {"decode": 0.123456, "stream": 2.0})
    assert read(path) == {
        "decode": Guarded(0.123, 1.5, "decode by numpy"),
        "stream": Guarded(2.0, 1.2, "stream by resident"),
    }


def run_main(monkeypatch, tmp_path, *measurements):
    from contextlib import contextmanager

    import benchmarks.guarded_ratios

    path = tmp_path / "guard.json"
    path.write_text(json.dumps({name: vars(each) for name, each in RECORDED.items()}), "utf-8")
    machine = Machine(*measurements)

    @contextmanager
    def made_up(folder):
        yield machine

    monkeypatch.setattr(guard, "RECORDED", path)
    monkeypatch.setattr(benchmarks.guarded_ratios, "measured_in", made_up)
    return guard.main([])


def test_the_command_exits_0_where_nothing_is_worse(monkeypatch, tmp_path):
    assert run_main(monkeypatch, tmp_path, GOOD) == 0


def test_the_command_exits_1_on_a_regression_and_tells_which(monkeypatch, tmp_path, capsys):
    assert run_main(monkeypatch, tmp_path, GOOD | {"decode": 3.0}, {"decode": 2.0}) == 1
    assert "worse: decode: 2" in capsys.readouterr().err


def test_what_is_recorded_is_what_is_measured():
    recorded = read(guard.RECORDED)
    assert len(recorded) >= 5
    for each in recorded.values():
        assert each.recorded > 0
        assert 1 < each.tolerance <= 2
        assert each.what
