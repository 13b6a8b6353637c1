"""The demo's U-Net as LZR2: lossless, made once, made again when damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import lzr2
from lzr2.errors import IoFailedError
from streamer.errors import WeightsFileError
from streamer.models.demo import demo_weights


def test_every_bit_is_that_of_the_packaged_weights(demo_lzr2, demo_safetensors):
    want = load_file(demo_safetensors)
    have = lzr2.load_file(demo_lzr2)
    assert have.keys() == want.keys()
    for key, tensor in want.items():
        assert have[key].shape == tensor.shape
        assert np.array_equal(have[key].view(np.uint16), tensor.view(np.uint16))


def test_made_once(tmp_path):
    told: list[str] = []
    path = demo_weights(tmp_path / "new", told.append)
    made = path.stat().st_mtime_ns
    assert len(told) == 1
    assert str(path) in told[0]
    assert demo_weights(tmp_path / "new", told.append) == path
    assert path.stat().st_mtime_ns == made
    assert len(told) == 1


def test_no_pass_over_it_is_made_again(tmp_path, monkeypatch):
    path = demo_weights(tmp_path)
    monkeypatch.setattr(lzr2.Lzr2File, "decode_into", lambda *_, **__: pytest.fail("decoded"))
    assert demo_weights(tmp_path) == path


def with_one_bit_changed(whole: bytes) -> bytes:
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 0x10]) + whole[middle + 1 :]


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(lambda whole: whole[:-100], id="cut"),
        pytest.param(lambda whole: b"", id="empty"),
        pytest.param(lambda whole: b"<html>", id="something else"),
        pytest.param(with_one_bit_changed, id="one bit"),
    ],
)
def test_a_damaged_file_is_made_again(tmp_path, demo_lzr2, damaged: Callable[[bytes], bytes]):
    path = tmp_path / demo_lzr2.name
    whole = demo_lzr2.read_bytes()
    path.write_bytes(damaged(whole))
    told: list[str] = []
    assert demo_weights(tmp_path, told.append) == path
    assert len(told) == 1
    assert path.read_bytes() == whole


@pytest.mark.parametrize("change", ["shape", "missing", "more", "sign of zero"])
def test_a_valid_file_with_other_weights_is_made_again(tmp_path, demo_lzr2, demo_safetensors, change):
    tensors = load_file(demo_safetensors)
    key = "conv_in.bias"
    if change == "shape":
        tensors[key] = tensors[key].reshape(-1, 1)
    elif change == "missing":
        del tensors[key]
    elif change == "more":
        tensors["one_more"] = tensors[key]
    else:
        key = next(key for key, tensor in tensors.items() if (tensor == 0).any())
        tensors[key] = np.where(tensors[key] == 0, -tensors[key], tensors[key])
    path = tmp_path / demo_lzr2.name
    lzr2.save_file(tensors, path)
    told: list[str] = []
    demo_weights(tmp_path, told.append)
    assert len(told) == 1
    assert path.read_bytes() == demo_lzr2.read_bytes()


def test_processes_at_once_leave_one_whole_file(tmp_path, demo_lzr2):
    code = "import sys; from pathlib import Path; from streamer.models.demo import demo_weights; "
    code += "print('ready', flush=True); sys.stdin.readline(); print(demo_weights(Path(sys.argv[1])))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in processes:  # all are started before the first begins
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = {process.communicate()[0].strip() for process in processes}
    assert said == {str(tmp_path / demo_lzr2.name)}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [demo_lzr2.name, f"{demo_lzr2.name}.index.json"]
    assert (tmp_path / demo_lzr2.name).read_bytes() == demo_lzr2.read_bytes()


@pytest.mark.parametrize("links", [True, False])
def test_what_another_process_made_meanwhile_stays(tmp_path, demo_lzr2, monkeypatch, links):
    path = tmp_path / demo_lzr2.name
    save_file = lzr2.save_file

    def save_while_another_does(tensors, own):
        save_file(tensors, own)
        path.write_bytes(demo_lzr2.read_bytes())
        others.append(path.stat().st_ino)

    others: list[int] = []
    monkeypatch.setattr(lzr2, "save_file", save_while_another_does)
    if not links:
        monkeypatch.setattr(os, "link", lambda made, place: (_ for _ in ()).throw(PermissionError("no links here")))
    assert demo_weights(tmp_path) == path
    assert [path.stat().st_ino] == others
    assert sorted(left.name for left in tmp_path.iterdir()) == [path.name, f"{path.name}.index.json"]


def test_without_links_it_is_put_in_place_all_the_same(tmp_path, demo_lzr2, monkeypatch):
    monkeypatch.setattr(os, "link", lambda made, place: (_ for _ in ()).throw(PermissionError("no links here")))
    assert demo_weights(tmp_path).read_bytes() == demo_lzr2.read_bytes()


@pytest.fixture
def unwritable_cache(tmp_path, monkeypatch) -> Path:
    """A user's cache directory that can't be made, and a temporary one that can."""
    (tmp_path / "file").touch()
    monkeypatch.setattr("streamer.models.demo.weights.user_cache_path", lambda name: tmp_path / "file" / name)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary"))
    return tmp_path


def test_a_cache_that_cannot_be_written_is_replaced_by_the_temporary_folder(unwritable_cache):
    told: list[str] = []
    path = demo_weights(notify=told.append)
    assert path.parent.parent == unwritable_cache / "temporary"
    assert path.parent.name.startswith("lzr2-streamer")
    assert len(told) == 1
    assert str(path) in told[0]
    assert demo_weights(notify=told.append) == path
    assert len(told) == 1


def test_a_full_disk_is_replaced_by_the_temporary_folder(unwritable_cache, demo_lzr2, monkeypatch):
    cache = unwritable_cache / "full"
    monkeypatch.setattr("streamer.models.demo.weights.user_cache_path", lambda name: cache)
    save_file = lzr2.save_file

    def save_where_there_is_room(tensors, path):
        if cache in path.parents:
            raise IoFailedError("writing failed (No space left on device)", path=path)
        save_file(tensors, path)

    monkeypatch.setattr(lzr2, "save_file", save_where_there_is_room)
    path = demo_weights()
    assert path.parent.parent == unwritable_cache / "temporary"
    assert path.read_bytes() == demo_lzr2.read_bytes()


def test_nowhere_to_write_is_told_with_what_to_do(unwritable_cache):
    (unwritable_cache / "temporary").touch()
    with pytest.raises(WeightsFileError, match=r"can't be written: .*; .*") as raised:
        demo_weights()
    assert raised.value.path.startswith(str(unwritable_cache / "file"))
    assert "XDG_CACHE_HOME" in str(raised.value)


def test_a_whole_file_in_a_folder_that_cannot_be_written_is_used(tmp_path, demo_lzr2, monkeypatch):
    (tmp_path / demo_lzr2.name).write_bytes(demo_lzr2.read_bytes())
    monkeypatch.setattr("streamer.models.demo.weights.user_cache_path", lambda name: tmp_path)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **arguments: pytest.fail("tried to write"))
    assert demo_weights() == tmp_path / demo_lzr2.name
