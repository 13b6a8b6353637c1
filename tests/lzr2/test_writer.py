"""A file appears whole or not at all, and holds what was given."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lzr2
from lzr2 import writer as writer_module
from lzr2.encode import fit_tensor
from lzr2.errors import ClosedError, EncodeError, InvalidTensorError, IoFailedError, NoPayloadError
from lzr2.target import Target

from . import reference
from .reference import bits


def by_hand(shape: tuple[int, int] = (3, 10), d: int = 4) -> lzr2.EncodedTensor:
    rng = np.random.default_rng(0)
    return lzr2.EncodedTensor(
        shape=shape,
        d=d,
        offset=rng.normal(size=shape[0]).astype(np.float32),
        scale=rng.normal(size=shape[0]).astype(np.float32),
        indices=rng.integers(0, 3**d, (shape[0], 3)).astype(np.uint16),
        overlay_rows=np.array([0, 2, 2], np.uint16),
        overlay_columns=np.array([1, 0, 9], np.uint32),
        overlay_values=np.array([0.5, -1.5, 1e9], np.float32),
        aux=np.ones((shape[0], d), np.float32),
    )


def test_the_reference_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.lzr2"
    tensor = np.random.default_rng(1).normal(size=(4, 30)).astype(np.float16)
    with lzr2.Writer(path) as writer:
        writer.add("by.hand", by_hand())
        writer.add_without_payload("kept", (2, 2))
        writer.add("é", tensor)
    decoded = reference.decode(path.read_bytes())
    assert list(decoded) == ["by.hand", "é"]
    assert np.array_equal(bits(decoded["é"]), bits(tensor))
    assert np.isinf(decoded["by.hand"][2, 9])
    with lzr2.open(path) as file:
        assert np.array_equal(bits(file.get_tensor("by.hand")), bits(decoded["by.hand"]))
        with pytest.raises(NoPayloadError):
            file.get_tensor("kept")


def test_wide_entries(tmp_path: Path) -> None:
    encoded = lzr2.EncodedTensor(
        shape=(2, 70_000),
        d=5,
        offset=np.zeros(2, np.float32),
        scale=np.ones(2, np.float32),
        indices=np.full((2, 14_000), 121, np.uint16),
        overlay_rows=np.array([1], np.uint32),
        overlay_columns=np.array([69_999], np.uint32),
        overlay_values=np.array([2.5], np.float16),
    )
    lzr2.write_records(tmp_path / "a.lzr2", [("t", encoded)])
    decoded = lzr2.load_file(tmp_path / "a.lzr2")["t"]
    assert decoded[1, 69_999] == 2.5
    assert np.count_nonzero(decoded) == 1


def test_records_stream_one_at_a_time(tmp_path: Path) -> None:
    alive: list[int] = []

    def records() -> Iterator[tuple[str, np.ndarray]]:
        for i in range(5):
            alive.append(i)
            yield f"t{i}", np.full((4, 4), i, np.float16)

    lzr2.write_records(tmp_path / "a.lzr2", records())
    assert alive == list(range(5))
    assert {k: float(t[0, 0]) for k, t in lzr2.load_file(tmp_path / "a.lzr2").items()} == {f"t{i}": i for i in alive}


def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.lzr2"
    path.write_bytes(b"old")

    def records() -> Iterator[tuple[str, np.ndarray]]:
        yield "a", np.zeros((3, 3), np.float16)
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError, match="the source failed"):
        lzr2.write_records(path, records())
    assert [p.name for p in tmp_path.iterdir()] == ["a.lzr2"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_is_one_clean_error(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.lzr2"
    path.write_bytes(b"old")
    if call == "write":
        monkeypatch.setattr(writer_module, "_BUFFER_NBYTES", 0)
        real = os.fdopen

        class Failing:
            def __init__(self, file: object) -> None:
                self.file = file
                self.close = file.close  # type: ignore[attr-defined]

            write = fail

        monkeypatch.setattr(writer_module.os, "fdopen", lambda *a, **k: Failing(real(*a, **k)))
    elif call == "fsync":
        monkeypatch.setattr(writer_module.os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(IoFailedError, match="No space left"):
        lzr2.save_file({"a": np.zeros((3, 3), np.float16)}, path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.lzr2"]


def test_a_folder_at_the_path_stays(tmp_path: Path) -> None:
    with pytest.raises(IoFailedError, match="directory"):
        lzr2.Writer(tmp_path)
    assert tmp_path.is_dir()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(IoFailedError, match="No such file"):
        lzr2.save_file({}, tmp_path / "none" / "a.lzr2")


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        lzr2.save_file({}, tmp_path / "a.lzr2")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.lzr2").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("key", "match"), [("a", "written before"), ("x" * 4097, "too long"), ("\ud800", "isn't UTF-8")]
)
def test_keys_that_cannot_be_written(key: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match=match):
        lzr2.write_records(tmp_path / "a.lzr2", [("a", by_hand()), (key, by_hand())])
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_named_when_a_tensor_cannot_be_encoded(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match=r"record 'bad': tensor type"):
        lzr2.save_file({"bad": np.zeros((2, 2), np.int8)}, tmp_path / "a.lzr2")


def test_a_target_for_an_encoded_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="encoded already"), lzr2.Writer(tmp_path / "a.lzr2") as writer:
        writer.add("a", by_hand(), d=4)


def test_too_many_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module.layout, "MAX_RECORDS", 1)
    with pytest.raises(EncodeError, match="too many records"):
        lzr2.write_records(tmp_path / "a.lzr2", [("a", by_hand()), ("b", by_hand())])


def test_a_writer_that_has_ended(tmp_path: Path) -> None:
    writer = lzr2.Writer(tmp_path / "a.lzr2")
    writer.commit()
    writer.abort()
    assert (tmp_path / "a.lzr2").read_bytes() == b"LZR2"
    with pytest.raises(ClosedError):
        writer.add("a", by_hand())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"shape": ()}, "number of dimensions"),
        ({"shape": 5}, "the shape isn't one"),
        ({"shape": (3, 10.0)}, "the shape isn't one"),
        ({"shape": "ab"}, "the shape isn't one"),
        ({"d": 2.5}, "block length"),
        ({"d": "4"}, "block length"),
        ({"offset": [0.0] * 3}, "section offset: found list"),
        ({"indices": None}, "section indices"),
        ({"overlay_rows": [0, 2, 2]}, "section overlay_rows"),
        ({"aux": 5}, "section aux"),
        ({"shape": (2**31, 2**31)}, "too large"),
        ({"d": 0}, "block length"),
        ({"offset": np.zeros(4, np.float32)}, "offset"),
        ({"scale": np.zeros(3, np.int32)}, "scale"),
        ({"aux": np.zeros((3, 5), np.float32)}, "aux"),
        ({"indices": np.zeros((2, 3), np.uint16)}, "indices"),
        ({"indices": np.zeros((3, 71), np.uint16)}, "blocks a row"),
        ({"indices": np.full((3, 3), 81, np.uint16)}, "an index"),
        ({"overlay_columns": np.zeros(2, np.uint16)}, "overlay_columns"),
        ({"overlay_rows": np.zeros(3, np.int64)}, "overlay_rows"),
        ({"overlay_rows": np.zeros(3, np.uint64)}, "overlay_rows"),
        ({"overlay_rows": np.full(3, 3, np.uint16)}, "a place in overlay_rows: found 3, expected below 3"),
        ({"overlay_columns": np.full(3, 70_000, np.uint32)}, "a place in overlay_columns"),
        ({"overlay_values": np.zeros(3, np.float64)}, "overlay_values"),
    ],
)
def test_sections_that_do_not_fit(change: dict[str, object], match: str) -> None:
    sections = dict(by_hand().__dict__) | change
    with pytest.raises(InvalidTensorError, match=match):
        lzr2.EncodedTensor(**sections)  # type: ignore[arg-type]


ARRAY = np.ones((2, 3), np.float16)


@pytest.mark.parametrize("key", [5, None, b"k", ("a",), 1.5])
def test_keys_that_are_no_text(key: Any, tmp_path: Path) -> None:
    for write in (lambda w: w.add(key, ARRAY), lambda w: w.add(key, None), lambda w: w.add_without_payload(key, (2,))):
        with pytest.raises(EncodeError, match="isn't a text"), lzr2.Writer(tmp_path / "a.lzr2") as writer:
            write(writer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(2.5,), (2, None), 5, None, "ab", {1, 2}, ((1, 2),), np.array([2, 3])])
def test_shapes_that_are_none(shape: Any, tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="isn't one"), lzr2.Writer(tmp_path / "a.lzr2") as writer:
        writer.add_without_payload("k", shape)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tensor", [5, None, "x", [1.0], {}, np.float16(1), np.ones(3, complex), np.ones(3, object)])
def test_tensors_that_are_none(tensor: Any, tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="'k': tensor type"), lzr2.Writer(tmp_path / "a.lzr2") as writer:
        writer.add("k", tensor)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [{"d": 2.5}, {"d": "8"}, {"d": [1]}, {"nbytes": "9"}, {"max_error": 1j}, {"overlay_fraction": [0.5]}]
)
def test_options_of_the_wrong_type(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(EncodeError), lzr2.Writer(tmp_path / "a.lzr2") as writer:
        writer.add("k", ARRAY, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [5, None, 1.5, ["a"], b"a"])
def test_paths_that_are_none(path: Any) -> None:
    with pytest.raises(EncodeError, match="the path isn't one"):
        lzr2.Writer(path)


@pytest.mark.parametrize("records", [None, 5, [5], [("a", ARRAY, 1)], ["ab"]])
def test_records_that_are_no_pairs(records: Any, tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="record"):
        lzr2.write_records(tmp_path / "a.lzr2", records)
    with pytest.raises(EncodeError, match="no keys"):
        lzr2.save_file(records, tmp_path / "a.lzr2")
    assert list(tmp_path.iterdir()) == []


_KILLED = """
import sys, numpy as np, lzr2
print("ready", flush=True)
for i in range(1000):
    lzr2.save_file({"a": np.full((50, 400), i, np.float16), "b": np.full((50, 400), i, np.float16)}, sys.argv[1])
    print(i, flush=True)
"""


def kill_while_writing(path: Path, delays: list[float]) -> int:
    """Kills writers at these times after their first file; returns how many files were seen."""
    seen = 0
    for delay in delays:
        command = [sys.executable, "-c", _KILLED, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if line == "0\n":
                    break
            time.sleep(delay)
            os.kill(child.pid, signal.SIGKILL)
        tensors = lzr2.load_file(path)
        assert set(tensors) == {"a", "b"}
        assert np.array_equal(tensors["a"], tensors["b"])
        assert len(np.unique(tensors["a"])) == 1
        seen += 1
    return seen


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    assert kill_while_writing(tmp_path / "a.lzr2", [0.0005 * i for i in range(6)]) == 6


@pytest.mark.slow
def test_two_hundred_killed_writers(tmp_path: Path) -> None:
    assert kill_while_writing(tmp_path / "a.lzr2", [0.0003 * i for i in range(200)]) == 200


@pytest.mark.parametrize("options", [{}, {"overlay_fraction": 0.3}])
def test_memory_is_at_most_three_times_the_tensor(options: dict[str, float], tmp_path: Path) -> None:
    tensor = np.random.default_rng(0).normal(0, 0.03, (1280, 4096)).astype(np.float16)
    lzr2.save_file({"t": tensor[:4]}, tmp_path / "small.lzr2", **options)  # type: ignore[arg-type]
    tracemalloc.start()
    lzr2.save_file({"t": tensor, "u": tensor}, tmp_path / "a.lzr2", **options)  # type: ignore[arg-type]
    grown = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert grown + tensor.nbytes < 3 * tensor.nbytes


def test_lengths_that_their_fields_cannot_hold(tmp_path: Path) -> None:
    with lzr2.Writer(tmp_path / "a.lzr2") as writer, pytest.raises(InvalidTensorError, match="too large"):
        writer._tables(1, None, np.zeros(1, np.float32), np.zeros(1, np.float32), b"", 2**32)


def test_a_tensor_that_changes_while_it_is_written(tmp_path: Path) -> None:
    fitted = fit_tensor(np.random.default_rng(0).normal(size=(4, 40)).astype(np.float16), Target())
    fitted.patterns[:] = 0
    with pytest.raises(EncodeError, match="changed while"), lzr2.Writer(tmp_path / "a.lzr2") as writer:
        writer._add_fitted("t", fitted)
    assert list(tmp_path.iterdir()) == []


def test_what_was_fitted_elsewhere_is_written_as_if_it_were_fitted_here(tmp_path: Path) -> None:
    tensor = np.random.default_rng(0).standard_normal((20, 300)).astype(np.float16)
    lzr2.save_file({"a": tensor}, tmp_path / "here.lzr2", overlay_fraction=0.1)
    with lzr2.Writer(tmp_path / "elsewhere.lzr2") as writer:
        writer.add("a", fit_tensor(tensor, Target(overlay_fraction=0.1)))
    assert (tmp_path / "elsewhere.lzr2").read_bytes() == (tmp_path / "here.lzr2").read_bytes()


def test_after_a_failed_write_nothing_can_be_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.lzr2"
    path.write_bytes(b"old")
    writer = lzr2.Writer(path)
    real, calls = writer_module.Writer._write, 0

    def failing(self: lzr2.Writer, *parts: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise IoFailedError("writing failed", path=path)
        real(self, *parts)

    monkeypatch.setattr(writer_module.Writer, "_write", failing)
    with pytest.raises(IoFailedError):
        writer.add("a", np.ones((4, 4), np.float16))
    with pytest.raises(ClosedError):
        writer.add("b", np.ones((4, 4), np.float16))
    with pytest.raises(ClosedError):
        writer.commit()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.lzr2", b"old")]


def test_interrupted_while_it_syncs_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(fd: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lzr2.save_file({"a": np.ones((4, 4), np.float16)}, tmp_path / "a.lzr2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(1,) * 9, (2**31, 2**31), (2**32,), (-1, 3), (0, 2**31, 8)])
def test_shapes_that_no_reader_takes_are_not_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with lzr2.Writer(tmp_path / "a.lzr2") as writer:
        with pytest.raises(EncodeError, match="no reader takes"):
            writer.add_without_payload("a", shape)
        writer.add("b", np.ones((2, 2), np.float16))  # nothing of the other was written
    assert lzr2.load_file(tmp_path / "a.lzr2").keys() == {"b"}


def test_what_a_reader_would_take_for_a_bomb_is_stored_or_refused(tmp_path: Path) -> None:
    n = 20_000_000
    ones = np.ones(1, np.float32)
    constant = lzr2.EncodedTensor((1, n), 8, ones, ones, np.zeros((1, n // 8), np.uint16))
    lzr2.write_records(tmp_path / "a.lzr2", [("a", constant)])
    with lzr2.open(tmp_path / "a.lzr2") as file:
        assert file.get_tensor("a").shape == (1, n)
    nothing = lzr2.EncodedTensor((1, n), 8, ones, ones, np.zeros((1, 0), np.uint16))
    with pytest.raises(InvalidTensorError, match="too large for its record"):
        lzr2.write_records(tmp_path / "b.lzr2", [("a", nothing)])
    assert not (tmp_path / "b.lzr2").exists()
