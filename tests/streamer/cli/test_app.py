"""The command as a whole."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from importlib.metadata import version

import pytest

from streamer.cli.app import main


@pytest.fixture
def run(monkeypatch, capfd):
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["streamer", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capfd.readouterr()

    return call


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    for command in ("gen", "index", "info"):
        assert command in out


def test_the_version_is_that_of_the_package(run):
    assert run("--version") == (0, f"streamer {version('lzr2-streamer')}\n", "")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_that_is_no_text_can_be_printed(monkeypatch, encoding):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    monkeypatch.setattr(sys, "argv", ["streamer", "--version"])
    with pytest.raises(SystemExit):
        main()
    sys.stdout.write("bad\udcff.png")
    sys.stdout.flush()
    assert b"bad\\udcff.png" in written.getvalue()


def test_without_standard_streams_it_runs(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "argv", ["streamer", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


@pytest.mark.parametrize("arguments", [["frobnicate"], ["gen", "--nope"], ["index"], ["info", "a", "b"]])
def test_what_is_no_command_is_exit_code_2(run, arguments):
    code, _, err = run(*arguments)
    assert code == 2
    assert "Error" in err


def test_help_does_not_load_the_large_libraries():
    code = "import sys; import streamer.cli.app; print('torch' in sys.modules, 'numba' in sys.modules)"
    started = time.monotonic()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False"]
    assert time.monotonic() - started < 10


def test_an_unexpected_error_keeps_its_traceback(run, monkeypatch, tmp_path):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("lzr2.Index.open", fail)
    monkeypatch.setattr(sys, "argv", ["streamer", "index", str(tmp_path)])
    with pytest.raises(ZeroDivisionError):
        main()
