"""`streamer bench storage`."""

from __future__ import annotations

import json
import os

import pytest
from PIL import Image

SMALL = ("--device", "cpu", "--steps", "1", "--guidance", "1", "--size", "4MB")


@pytest.fixture
def storage(streamer):
    return lambda *arguments: streamer("bench", "storage", *arguments)


def test_a_plain_file_is_read_without_any_weights(storage, tmp_path):
    (tmp_path / "plain").write_bytes(os.urandom(5_000_000))
    done = storage("plain", "--size", "2MB")
    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines()]
    assert sum(bool(row) and row[0] in ("pread", "mmap", "direct") and len(row) > 4 for row in rows) == 10
    assert "Reading plain" in done.err
    assert "predicted" not in done.out
    assert "--weights" not in done.err


def test_of_weights_alone_it_is_said_what_more_can_be_told(storage, demo_lzr2):
    done = storage(demo_lzr2, "--size", "1MB", "--json")
    assert done.code == 0, done.err
    assert f"--weights {demo_lzr2} adds" in done.err
    assert len(done.out.splitlines()) == 1


def test_emulated_steps_stand_beside_predicted_ones(storage, demo_lzr2, tmp_path):
    arguments = ("--weights", demo_lzr2, "--emulate", "40", "--vram-budget", "20MB", *SMALL)
    done = storage(*arguments, "--plot", "plot.png")
    assert done.code == 0, done.err
    (row,) = [line.split() for line in done.out.splitlines() if line.startswith("40 ") and "20MB" in line]
    assert row[1:4] == ["40", "MB/s", "20MB"]
    assert "%" in "".join(row)
    assert "40: --vram-budget 20MB --ram-budget" in done.out
    assert "20MB: step 2 of 2" in done.err
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size == (1200, 640)


def test_json_has_everything_in_one_line(storage, demo_lzr2):
    done = storage("--weights", demo_lzr2, "--emulate", "20", "--vram-budget", "20MB", *SMALL, "--json")
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 1
    found = json.loads(done.out)
    assert [one["path"] for one in found["storages"]] == [str(demo_lzr2)]
    assert len(found["storages"][0]["reads"]) == 10
    (emulated,) = [one for one in found["steps"] if one["name"] == "20"]
    assert emulated["disk"] == 20e6
    (budget,) = emulated["budgets"]
    needed = budget["disk_nbytes"] / 20e6
    assert budget["predicted_seconds"] >= 0.999 * needed
    assert budget["measured_seconds"] >= 0.75 * needed  # the step before it has read some of it ahead
    best = emulated["recommended"]
    assert best["vram_budget"] == 20_000_000
    # Its own time: what is kept in memory isn't read again.
    assert best["ram_budget"] == 0 or best["step_seconds"] < budget["predicted_seconds"] / 1.15


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to read"),
        (("gone",), "isn't there"),
        ((".",), "is a folder"),
        (("empty",), "is empty"),
        (("file", "--emulate", "floppy"), "no storage that can be emulated"),
        (("file", "--plot", "a.png"), "no steps to draw"),
        (("file", "--size", "much"), "is not a size"),
        (("file", "--weights", "file"), "file"),
    ],
)
def test_nonsense_is_refused_in_words(storage, tmp_path, arguments, said):
    (tmp_path / "empty").touch()
    (tmp_path / "file").write_bytes(b"no weights at all")
    done = storage(*arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
