"""The comparison: every runtime has its turn in every round, nothing is dropped, an ended run isn't lost."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import compare_runtimes
from benchmarks.compare.runtimes import all_runtimes
from tests.benchmarks.compare.made_up import child

NO_GPU = "RuntimeError: there is no GPU"


class Machine:
    """Children that are made up; remembers whose turn it was."""

    def __init__(self, monkeypatch, seen=lambda runtime: child()):
        self.turns = []
        self.seen = seen
        monkeypatch.setattr(compare_runtimes, "run_one", self.run_one)
        monkeypatch.setattr(compare_runtimes, "warm_up", lambda *_: None)
        monkeypatch.setattr(compare_runtimes, "make_files", lambda config, folder: folder.mkdir(parents=True))

    def run_one(self, runtime, *_):
        self.turns.append(runtime.name)
        return self.seen(runtime), 0


def run(tmp_path, *more):
    arguments = ["--output", str(tmp_path), "--scratch", str(tmp_path), "--name", "made-up", *more]
    assert compare_runtimes.main(arguments) == 0
    return json.loads((tmp_path / "made-up.json").read_text("utf-8"))


def test_every_runtime_has_its_turn_in_each_round_and_the_order_is_reversed(monkeypatch, tmp_path):
    machine = Machine(monkeypatch)
    run(tmp_path, "--rounds", "2", "--budgets", "16MB")
    names = [runtime.name for runtime in all_runtimes(["16MB"])][1:]
    again = [name for name in reversed(names) if "resident, " not in name]  # the reference is needed once
    assert [turn for turn in machine.turns if turn != "resident"] == names + again


def test_the_resident_one_is_first_and_last_and_has_a_turn_after_every_few(monkeypatch, tmp_path):
    machine = Machine(monkeypatch)
    run(tmp_path, "--rounds", "2", "--budgets", "16MB", "--resident-every", "4")
    places = [n for n, turn in enumerate(machine.turns) if turn == "resident"]
    assert places[0] == 0
    assert places[-1] == len(machine.turns) - 1
    assert {b - a for a, b in itertools.pairwise(places[:-1])} == {5}


def test_what_was_run_is_written_and_what_could_not_be_is_listed(monkeypatch, tmp_path):
    machine = Machine(monkeypatch, lambda r: child(reason=NO_GPU) if "model offload" in r.name else child())
    found = run(tmp_path, "--rounds", "3", "--budgets", "16MB")
    assert machine.turns.count("diffusers model offload") == 1  # it would fail again
    assert found["not_run"] == [{"name": "diffusers model offload", "reason": NO_GPU}]
    shown = {row["name"] for row in found["rows"]} | {each["name"] for each in found["not_run"]}
    assert shown == {runtime.name for runtime in all_runtimes(["16MB"]) if runtime.kind != "reference"}
    assert NO_GPU in (tmp_path / "made-up.md").read_text("utf-8")
    assert (tmp_path / "made-up.svg").read_text("utf-8").startswith("<svg")


def test_only_chooses_and_resident_is_always_there(monkeypatch, tmp_path):
    machine = Machine(monkeypatch)
    run(tmp_path, "--rounds", "1", "--only", "cpu_offload")
    assert machine.turns == ["resident", "resident, overlay-heavy weights", "accelerate cpu_offload", "resident"]


def test_a_run_that_ends_early_leaves_what_was_measured(monkeypatch, tmp_path):
    def seen(runtime):
        if runtime.name == "diffusers model offload":
            raise KeyboardInterrupt
        return child()

    Machine(monkeypatch, seen)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "--budgets", "16MB")
    found = json.loads((tmp_path / "made-up.json").read_text("utf-8"))
    assert found["rows"][0]["name"] == "resident"
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".md", ".svg"]


def test_the_command_that_is_kept_names_no_folder_of_this_machine(monkeypatch, tmp_path):
    Machine(monkeypatch)
    found = run(tmp_path, "--rounds", "1", "--folder", str(tmp_path / "a" / "weights"), "--only", "nothing")
    assert str(tmp_path) not in found["command"]
    assert "--folder weights/" in found["command"]
    assert "--output" not in found["command"]
    assert "--name" not in found["command"]
    assert str(tmp_path) not in json.dumps(found)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--rounds", "0"],
        ["--steps", "1"],
        ["--resident-every", "0"],
        ["--model", "full"],
        ["--model", "other"],
        ["--only", "("],
        ["--skip", "("],
        ["--budgets", "1XB"],
        ["--budgets", "1GB/"],
        ["--budgets", "1GB", "0/1GB"],
    ],
)
def test_what_cannot_be_measured_is_refused(wrong):
    with pytest.raises(SystemExit):
        compare_runtimes.parse(wrong)


@pytest.mark.parametrize("wrong", [["--scratch", "no/such"], ["--model", "full", "--folder", "no/such"]])
def test_a_folder_that_is_not_there_is_named(wrong, capsys):
    assert compare_runtimes.main(wrong) == 2
    assert f"there is no folder {Path('no/such')}" in capsys.readouterr().err


def test_what_is_left_out_or_has_no_file_or_no_room_says_so(tmp_path, monkeypatch):
    from benchmarks.compare.model_files import CONFIGS, ModelFiles

    files = ModelFiles(CONFIGS["demo"], tmp_path, tmp_path / "models")
    by_builder = {runtime.builder: runtime for runtime in all_runtimes(["16MB"])}
    args = compare_runtimes.parse(["--skip", "^mmgp"])

    def reason(builder):
        return compare_runtimes.run_one(by_builder[builder], args, files, tmp_path, 1)[0].reason

    assert reason("mmgp") == "not tried: left out by --skip ^mmgp"
    assert reason("resident") == "not tried: there is no gaussian.safetensors"
    (tmp_path / "lattice.safetensors").write_bytes(bytes(1000))
    monkeypatch.setattr(compare_runtimes.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1983}))
    assert reason("disk_offload") == "not tried: it writes 2 KB, and 2 KB are free on the disk"


def test_a_folder_with_one_of_the_files_is_enough_for_those_that_read_it(tmp_path, monkeypatch):
    from benchmarks.compare.model_files import CONFIGS, ModelFiles

    (tmp_path / "lattice.lzr2").write_bytes(b"weights")
    files = ModelFiles(CONFIGS["demo"], tmp_path, tmp_path / "models")
    monkeypatch.setattr(compare_runtimes, "watch", lambda *_, **__: child())
    args = compare_runtimes.parse([])
    told = {each.name: compare_runtimes.run_one(each, args, files, tmp_path, 1)[0] for each in all_runtimes(["16MB"])}
    assert told["this project, LZR2 lattice-heavy, 16MB"].reason == ""
    assert told["accelerate disk_offload"].reason == "not tried: there is no lattice.safetensors"
    assert (
        told["this project, LZR2 overlay-heavy, 16MB, decoded to disk"].reason == "not tried: there is no gaussian.lzr2"
    )


def test_before_anything_is_measured_each_kind_of_decoder_was_used(tmp_path, monkeypatch):
    turns = []
    monkeypatch.setattr(compare_runtimes, "run_one", lambda runtime, args, *_: turns.append((runtime.name, args.steps)))
    args = compare_runtimes.parse(["--budgets", "8MB", "16MB"])
    compare_runtimes.warm_up(args, compare_runtimes.chosen(args), None, tmp_path, 1)
    assert turns == [
        ("this project, LZR2 lattice-heavy, 8MB", 1),
        ("this project, LZR2 overlay-heavy, 8MB", 1),
        ("this project, safetensors, 8MB", 1),
        ("this project, LZR2 overlay-heavy, 8MB, decoded to disk", 1),
    ]


@pytest.mark.parametrize(
    ("of", "seen", "says"),
    [
        ("resident", child(reason="Killed"), "nothing was compared"),
        ("this project, safetensors, 16MB", child(digest="another"), "safetensors, 16MB: the result isn't"),
        ("this project, safetensors, 16MB", child(reason="Killed"), "safetensors, 16MB: it failed: Killed"),
        ("resident, overlay-heavy weights", child(reason="Killed"), "overlay-heavy, 16MB: there is no result of"),
    ],
)
def test_a_result_that_says_nothing_is_a_failure(monkeypatch, tmp_path, capsys, of, seen, says):
    Machine(monkeypatch, lambda runtime: seen if runtime.name == of else child())
    arguments = ["--output", str(tmp_path), "--scratch", str(tmp_path), "--rounds", "1", "--budgets", "16MB"]
    assert compare_runtimes.main(arguments) == 1
    assert says in capsys.readouterr().err


def test_what_nobody_wanted_is_no_failure(monkeypatch, tmp_path):
    said = {
        "this project, safetensors, 16MB": compare_runtimes.NOT_TRIED + "left out",
        "diffusers model offload": "a failure of another's",
    }
    seen = {name: child(reason=reason) for name, reason in said.items()}
    Machine(monkeypatch, lambda runtime: seen.get(runtime.name) or child())
    found = run(tmp_path, "--rounds", "1", "--budgets", "16MB")
    assert {each["name"] for each in found["not_run"]} == set(said)


def test_the_reference_is_tried_once_more(monkeypatch, tmp_path):
    reference = "resident, overlay-heavy weights"
    results = iter([child(reason="Killed"), child()])
    machine = Machine(monkeypatch, lambda runtime: next(results) if runtime.name == reference else child())
    found = run(tmp_path, "--rounds", "3", "--budgets", "16MB")
    assert machine.turns.count(reference) == 2
    never = Machine(monkeypatch, lambda runtime: child(reason="Killed") if runtime.name == reference else child())
    output = ["--output", str(tmp_path), "--scratch", str(tmp_path)]
    assert compare_runtimes.main([*output, "--rounds", "4", "--budgets", "16MB"]) == 1
    assert never.turns.count(reference) == 2
    assert all(row["equal"] for row in found["rows"] if row["kind"] == "this project")


@pytest.mark.parametrize(("variable", "threads"), [("3", 3), ("", None), ("0", None), ("4,2", None)])
def test_threads_are_as_the_environment_says_if_it_says_a_number(variable, threads):
    assert compare_runtimes.threads_by(variable) == (threads or compare_runtimes.processors())


def test_where_a_processor_computes_no_device_is_seen_and_else_one(monkeypatch):
    assert compare_runtimes.environment(1, "cpu")["CUDA_VISIBLE_DEVICES"] == ""
    monkeypatch.setattr(compare_runtimes, "DEVICE", "3")
    assert compare_runtimes.environment(1, "cuda")["CUDA_VISIBLE_DEVICES"] == "3"


def test_a_first_start_finds_nothing_that_an_earlier_one_kept(tmp_path, monkeypatch):
    from benchmarks.compare.model_files import CONFIGS, ModelFiles
    from benchmarks.compare.setting import Setting

    (tmp_path / "lattice.lzr2").write_bytes(b"weights")
    (tmp_path / "lattice.safetensors").write_bytes(b"")
    files = ModelFiles(CONFIGS["demo"], tmp_path, tmp_path / "models")
    seen = []

    def watch(command, variables, *_, **__):
        setting = Setting.from_json(command[-1])
        seen.append((setting.weights, setting.weights.read_bytes(), {name: variables.get(name) for name in CACHES}))
        return child()

    monkeypatch.setattr(compare_runtimes, "watch", watch)
    dropped = []
    monkeypatch.setattr(compare_runtimes.page_cache, "drop", lambda files: dropped.append(files[0]))
    monkeypatch.setattr(compare_runtimes, "place", shutil.copyfile)  # as between file systems
    args = compare_runtimes.parse([])
    both = [each for each in all_runtimes(["16MB"]) if each.name.startswith("this project, LZR2 lattice")]
    for runtime in both:
        compare_runtimes.run_one(runtime, args, files, tmp_path, 1)
    (usual, _, _), (first, content, caches) = seen
    assert usual == tmp_path / "lattice.lzr2"
    assert dropped[0] == usual
    assert dropped[1] == first
    assert first.parent != usual.parent
    assert content == b"weights"
    assert all(str(tmp_path) in folder for folder in caches.values())
    assert not first.exists()


CACHES = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA")


def test_a_result_can_be_written_again_from_its_runs(monkeypatch, tmp_path, capsys):
    Machine(monkeypatch)
    before = run(tmp_path, "--rounds", "1", "--budgets", "16MB")
    path = tmp_path / "made-up.json"
    texts = {each.name: each.read_text("utf-8") for each in tmp_path.iterdir()}
    path.write_text(json.dumps(before | {"rows": [], "not_run": []}), "utf-8")
    assert compare_runtimes.main(["--again", str(path)]) == 0
    assert {each.name: each.read_text("utf-8") for each in tmp_path.iterdir()} == texts
    older = "--output 'my results/' --skip 'a b' --name=other"
    path.write_text(json.dumps(before | {"command": f"{before['command']} {older}"}), "utf-8")
    assert compare_runtimes.main(["--again", str(path)]) == 0
    assert json.loads(path.read_text("utf-8"))["command"] == f"{before['command']} --skip 'a b'"
    before["runs"][0]["name"] = "nobody"
    path.write_text(json.dumps(before), "utf-8")
    assert compare_runtimes.main(["--again", str(path)]) == 1
    assert "no runtime 'nobody'" in capsys.readouterr().err
    assert compare_runtimes.main(["--again", str(tmp_path / "none.json")]) == 1


def test_threads_are_the_same_for_all():
    found = compare_runtimes.environment(3, "cpu")
    assert {found[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"3"}


@pytest.mark.slow
@pytest.mark.skipif(torch.backends.mps.is_available(), reason="peers would compute on that, not on the processor")
def test_the_demo_really_under_every_runtime(tmp_path):
    """Children of their own, no picture of a machine made up. Without a GPU, exactly those can't run that need one."""
    found = run(tmp_path, "--rounds", "1", "--steps", "2", "--pixels", "64", "--budgets", "16MB")
    rows = {row["name"]: row for row in found["rows"]}
    everyone = {runtime.name for runtime in all_runtimes(["16MB"]) if runtime.kind != "reference"}
    assert {each["name"] for each in found["not_run"]} == NEED_A_GPU
    assert rows.keys() == everyone - NEED_A_GPU
    # A layer that runs out of order may round otherwise: what is to disk in groups does, in the last digits.
    assert {name for name, row in rows.items() if row["equal"] is not True} <= MAY_ROUND_OTHERWISE
    assert all(row["largest_difference"] < 1e-4 for row in rows.values())
    assert all(row["ready_seconds"]["median"] < row["first_step_seconds"]["median"] for row in rows.values())
    if sys.platform == "linux":
        assert all(row["peak_nbytes"] >= row["own_nbytes"] > 100e6 for row in rows.values())
    if sys.platform == "linux" and not found["machine"]["storage"].startswith("tmpfs"):
        assert all(run["reason"] or run["cached_at_start_nbytes"] == 0 for run in found["runs"])
        assert all(row["cold_step_seconds"] for row in rows.values())


NEED_A_GPU = {
    "diffusers model offload",
    "diffusers sequential offload",
    *(
        f"diffusers group offload, {level}{how}"
        for level in ("block", "leaf")
        for how in (", stream, all pinned", ", stream", ", to disk, stream")
    ),
    "mmgp",
}
MAY_ROUND_OTHERWISE = {"diffusers group offload, block, to disk", "diffusers group offload, leaf, to disk"}
