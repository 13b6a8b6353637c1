"""What is seen of a child from outside: when it spoke, how much memory it took, why it ended."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest

from benchmarks.compare.watch import watch, without_folders

SPEAK = """
import json, sys, time
def mark(what, **facts):
    print("@mark " + json.dumps({"what": what, **facts}), flush=True)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def watched(code, timeout=30.0):
    return watch([sys.executable, "-c", SPEAK + textwrap.dedent(code)], os.environ, timeout)


def test_marks_come_with_the_time_since_the_start_and_other_lines_are_passed_over():
    seen = watched("""
        print("hello @mark nothing")
        mark("ready")
        time.sleep(0.3)
        mark("step", seconds=1)
        mark("step", seconds=2)
        mark("done")
    """)
    assert seen.reason == ""
    ready, step = seen.first("ready"), seen.first("step")
    assert 0 < ready["at"] < 10
    assert 0.25 < step["at"] - ready["at"] < 5
    assert [mark["seconds"] for mark in seen.all("step")] == [1, 2]
    assert seen.first("nothing") is None


@linux
def test_memory_is_counted_before_and_after_it_is_ready():
    seen = watched("""
        held = bytearray(150_000_000)
        held[::4096] = b"x" * len(held[::4096])
        time.sleep(0.3)
        del held
        mark("ready")
        held = bytearray(60_000_000)
        held[::4096] = b"x" * len(held[::4096])
        time.sleep(0.3)
        mark("done")
    """)
    assert 150e6 < seen.own_load_nbytes < 200e6
    assert seen.own_load_nbytes <= seen.peak_load_nbytes < 250e6
    assert 60e6 < seen.own_steps_nbytes < 110e6
    assert seen.own_steps_nbytes <= seen.peak_steps_nbytes < 150e6


@linux
def test_pages_of_files_count_as_resident_but_not_as_its_own(tmp_path):
    (tmp_path / "file").write_bytes(bytes(80_000_000))
    seen = watched(f"""
        import mmap
        mark("ready")
        with open({str(tmp_path / "file")!r}, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            sum(mapped[::4096])
            time.sleep(0.3)
        mark("done")
    """)
    assert seen.peak_steps_nbytes > 80e6
    assert seen.own_steps_nbytes < 60e6


def test_peaks_between_samples_are_known_from_what_the_child_tells():
    seen = watched("""
        mark("ready", memory={"VmHWM": 10**12}, peak_is_anew=True)
        mark("step", memory={"VmHWM": 2 * 10**12})
        mark("done", memory={})
    """)
    assert (seen.peak_load_nbytes, seen.peak_steps_nbytes) == (10**12, 2 * 10**12)


def test_a_peak_that_could_not_be_begun_anew_is_the_loading_only():
    seen = watched("""
        mark("ready", memory={"VmHWM": 10**12}, peak_is_anew=False)
        mark("done", memory={"VmHWM": 10**12})
    """)
    assert seen.peak_load_nbytes == 10**12
    assert (seen.peak_steps_nbytes or 0) < 10**12


def test_where_it_could_not_be_begun_anew_a_higher_one_is_of_the_steps():
    seen = watched("""
        mark("ready", memory={"VmHWM": 10**12}, peak_is_anew=False)
        mark("done", memory={"VmHWM": 2 * 10**12})
    """)
    assert (seen.peak_load_nbytes, seen.peak_steps_nbytes) == (10**12, 2 * 10**12)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("no file /home/me/a b.bin here", "no file a b.bin here"),
        ("File '/data/x/y.py', line 3", "File 'y.py', line 3"),
        ("Error:/home/me/x", "Error:x"),
        ("file:///home/me/x", "file:x"),
        (r"[Errno 2] 'C:\\Users\\me\\x.bin'", "[Errno 2] 'x.bin'"),
        (r"C:\Users\me\x.bin", "x.bin"),
        ("in /home/John Smith/x/y.bin", "in y.bin"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("see http://example.org/a/b", "see http://example.org/a/b"),
        ("1/2 of a/b/c", "1/2 of a/b/c"),
    ],
)
def test_folders_of_this_machine_are_left_out(told, shown):
    assert without_folders(told, ["/home/John Smith"]) == shown


def test_an_error_is_the_reason():
    seen = watched("""
        mark("ready")
        raise ValueError("this needs a GPU")
    """)
    assert seen.reason == "ValueError: this needs a GPU"


def test_an_error_of_several_lines_is_the_reason_as_a_whole():
    seen = watched("""
        sys.stderr.write("a warning\\n")
        raise ValueError("the budget is too small\\nGive 2GB.")
    """)
    assert seen.reason == "ValueError: the budget is too small Give 2GB."


def test_without_a_traceback_the_last_line_is_the_reason():
    assert watched("sys.stderr.write('one\\ntwo\\n'); sys.exit(1)").reason == "two"


def test_a_long_error_is_cut():
    assert watched("raise ValueError('x' * 10_000)").reason.endswith("x ...")


def test_ending_early_without_a_word_is_told():
    assert watched("sys.exit(3)").reason == "ended with exit code 3"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_being_killed_is_told():
    assert watched("import os; os.kill(os.getpid(), 9)").reason == "ended by signal 9 (out of memory?)"


def test_a_child_that_takes_too_long_is_ended():
    seen = watched("mark('ready'); time.sleep(60)", timeout=1.5)
    assert seen.reason == "not done after 2 s"
    assert seen.first("ready") is not None


def test_what_an_error_says_doesnt_block_a_child_that_says_much():
    seen = watched("""
        sys.stderr.write("x" * 1_000_000 + "\\n")
        mark("done")
    """)
    assert seen.reason == ""
