"""The file of decoded tensors: what is proven is read, and nothing else ever."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from streamer.errors import SpillError
from streamer.tiers import spill_file
from streamer.tiers.spill_file import SpillFile

SHAPES = {"a": (3, 4), "b": (5,), "c": (2, 2, 2)}


def values(key: str, seed: int = 0) -> np.ndarray:
    shape = SHAPES[key]
    return np.random.default_rng([seed, ord(key)]).random(shape).astype(np.float16).reshape(-1).view(np.uint8)


def read(file: SpillFile, key: str) -> np.ndarray | None:
    out = np.empty(2 * int(np.prod(SHAPES[key])), np.uint8)
    return out if file.read_into(key, out) else None


def read_widened(file: SpillFile, key: str) -> np.ndarray | None:
    out = np.empty(int(np.prod(SHAPES[key])), np.float32)
    seconds = file.read_widened_into(key, out)
    assert seconds is None or seconds >= 0
    return None if seconds is None else out


@pytest.fixture
def written(tmp_path) -> Path:
    """A file with "a" and "b" in it, closed."""
    file = SpillFile(tmp_path, "x", SHAPES)
    for key in "ab":
        file.write(key, values(key))
    file.close()
    return file.path


def test_what_was_written_is_read_at_once_and_the_next_time(tmp_path, written):
    file = SpillFile(tmp_path, "x", SHAPES)
    assert [file.has(key) for key in SHAPES] == [True, True, False]
    assert np.array_equal(read(file, "a"), values("a"))
    assert read(file, "c") is None
    file.write("c", values("c"))
    assert np.array_equal(read(file, "c"), values("c"))
    file.close()
    file.close()


def test_whole_it_is_a_safetensors_file(tmp_path, written):
    file = SpillFile(tmp_path, "x", SHAPES)
    file.write("c", values("c"))
    file.close()
    loaded = load_file(written)
    assert {key: tensor.shape for key, tensor in loaded.items()} == SHAPES
    assert all(np.array_equal(tensor.reshape(-1).view(np.uint8), values(key)) for key, tensor in loaded.items())


@pytest.mark.parametrize(("identity", "shapes"), [("y", SHAPES), ("x", SHAPES | {"b": (6,)}), ("x", {"a": (3, 4)})])
def test_other_values_are_in_another_file(tmp_path, written, identity, shapes):
    file = SpillFile(tmp_path, identity, shapes)
    assert file.path != written
    assert not file.has("a")
    file.close()


def test_every_changed_byte_is_noticed_and_costs_one_tensor(tmp_path, written):
    whole = written.read_bytes()
    start = len(whole) - 2 * sum(int(np.prod(shape)) for shape in SHAPES.values())
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1
        written.write_bytes(changed)
        file = SpillFile(tmp_path, "x", SHAPES)
        found = [read(file, key) for key in "ab"]
        assert all(out is None or np.array_equal(out, values(key)) for key, out in zip("ab", found, strict=True))
        n_lost = sum(out is None for out in found)
        assert n_lost == (2 if at < start else int(at < start + 34))
        for key in "ab":
            file.write(key, values(key))
        file.close()


def test_a_byte_that_changes_after_it_was_read_is_noticed(tmp_path, written):
    file = SpillFile(tmp_path, "x", SHAPES)
    file.write("c", values("c"))
    assert all(np.array_equal(read(file, key), values(key)) for key in SHAPES)
    with written.open("r+b") as raw:
        raw.seek(-1, os.SEEK_END)
        last = raw.read(1)[0]
        raw.seek(-1, os.SEEK_END)
        raw.write(bytes([last ^ 1]))
    assert read(file, "c") is None
    assert np.array_equal(read(file, "a"), values("a"))
    file.close()


@pytest.mark.parametrize("at_once", [3, 1000])
def test_what_is_widened_is_as_sound_as_what_is_read(tmp_path, written, at_once, monkeypatch):
    monkeypatch.setattr(spill_file, "_WIDENED_AT_ONCE", at_once)
    file = SpillFile(tmp_path, "x", SHAPES)
    file.write("c", values("c"))
    for key in SHAPES:
        assert np.array_equal(read_widened(file, key), values(key).view(np.float16).astype(np.float32))
    assert file.read_widened_into("a", np.empty(11, np.float32)) is None
    with written.open("r+b") as raw:
        raw.seek(-1, os.SEEK_END)
        raw.write(bytes([values("c")[-1] ^ 1]))
    assert read_widened(file, "c") is None
    assert not file.has("c")
    os.truncate(written, written.stat().st_size - 2 * 8 - 2)  # all of "c", and the last of "b"
    assert read_widened(file, "b") is None
    assert read_widened(file, "a") is not None
    file.close()


def test_what_was_cut_off_while_open_does_not_come_back_as_zeros(tmp_path, written):
    file = SpillFile(tmp_path, "x", SHAPES)
    assert np.array_equal(read(file, "b"), values("b"))
    os.truncate(written, 8)
    file.write("c", values("c"))  # which makes the file as long again, with a hole where the others were
    assert [read(file, key) is None for key in SHAPES] == [True, True, False]
    file.write("b", values("b"))
    assert np.array_equal(read(file, "b"), values("b"))
    file.close()


def test_a_file_cut_short_or_longer_is_begun_anew(tmp_path, written):
    for content in (written.read_bytes()[:-1], written.read_bytes() + b"\0", b""):
        written.write_bytes(content)
        file = SpillFile(tmp_path, "x", SHAPES)
        assert [file.has(key) for key in SHAPES] == [False] * 3
        assert read(file, "a") is None
        file.write("a", values("a"))
        file.close()


@pytest.mark.parametrize(
    "journal",
    [b"", b"\xff" * 100, b"0 " + b"0" * 32 + b"\n", b"7 " + b"0" * 32 + b"\n", b"0 short\n", b"1" * 10_000, b"0 12"],
)
def test_a_journal_that_is_nonsense_proves_nothing(tmp_path, written, journal):
    written.with_suffix(".journal").write_bytes(journal)
    file = SpillFile(tmp_path, "x", SHAPES)
    assert read(file, "a") is None
    file.write("a", values("a"))
    file.close()
    file = SpillFile(tmp_path, "x", SHAPES)
    assert np.array_equal(read(file, "a"), values("a"))
    file.close()


def test_of_a_tensor_that_was_written_twice_the_last_counts(tmp_path, written):
    file = SpillFile(tmp_path, "x", SHAPES)
    file.write("a", values("a", seed=1))
    file.close()
    file = SpillFile(tmp_path, "x", SHAPES)
    assert np.array_equal(read(file, "a"), values("a", seed=1))
    file.close()


def test_one_process_at_a_time(tmp_path, written):
    code = (
        "import sys; from pathlib import Path; from streamer.tiers.spill_file import SpillFile; "
        f"SpillFile(Path(sys.argv[1]), 'x', {SHAPES!r}); print('mine', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(SpillError, match="another process uses it"):
            SpillFile(tmp_path, "x", SHAPES)
        other.kill()
    SpillFile(tmp_path, "x", SHAPES).close()


def test_too_little_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(0, 0, 100))
    with pytest.raises(SpillError, match="100 are free"):
        SpillFile(tmp_path, "x", SHAPES)
    assert all(path.stat().st_size == 0 for path in tmp_path.iterdir())


def test_a_link_in_its_place_is_not_followed(tmp_path, written):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    written.unlink()
    written.symlink_to(precious)
    with pytest.raises(SpillError):
        SpillFile(tmp_path, "x", SHAPES)
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize("call", ["pwrite", "preadv"])
def test_a_disk_that_fails(tmp_path, written, monkeypatch, call):
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    file = SpillFile(tmp_path, "x", SHAPES)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        if call == "pwrite":
            with pytest.raises(SpillError, match="Input/output error"):
                file.write("c", values("c"))
        else:
            assert read(file, "a") is None
    file.close()


def test_without_positioned_reads_as_on_windows(tmp_path, monkeypatch):
    for name in ("preadv", "pwrite", "posix_fadvise"):
        monkeypatch.delattr(os, name)
    for _ in range(2):
        file = SpillFile(tmp_path, "x", SHAPES)
        for key in SHAPES:
            file.write(key, values(key))
            file.advise(key, needed=True)
        assert all(np.array_equal(read(file, key), values(key)) for key in SHAPES)
        file.close()


def test_killed_at_any_moment_the_next_one_reads_only_what_is_whole(tmp_path):
    shapes = {f"t{i}": (64, 1024) for i in range(40)}
    code = (
        "import sys; from pathlib import Path; import numpy as np; from streamer.tiers.spill_file import SpillFile; "
        "shapes = {f't{i}': (64, 1024) for i in range(40)}; file = SpillFile(Path(sys.argv[1]), 'x', shapes); "
        "print('go', flush=True)\n"
        "while True:\n"
        "    for i, key in enumerate(shapes): file.write(key, np.full(131072, i, np.uint8))\n"
    )
    proven = 0
    for moment in range(6):
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "go\n"
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(0.001 * 3**moment)
            other.kill()
        file = SpillFile(tmp_path, "x", shapes)
        for i, key in enumerate(shapes):
            out = np.empty(131072, np.uint8)
            if file.read_into(key, out):
                assert (out == i).all()
                proven += 1
        file.close()
    assert proven > 0
