"""Faults of files keep their words and facts."""

from __future__ import annotations

from lzr2.errors import Lzr2Error, MissingFileError, TruncatedError
from streamer.sources.faults import translated


def test_a_fault_with_a_path_says_it_once():
    fault = TruncatedError("the file ends too early", path="w.lzr2", key="k", offset=7, found="1 byte", expected="2")
    error = translated(fault)
    assert str(error) == str(fault)
    assert str(error).count("w.lzr2") == 1
    assert error.path == "w.lzr2"


def test_a_fault_keeps_its_advice():
    assert "Check the path." in str(translated(MissingFileError("there is no such file", path="w.lzr2")))


def test_a_fault_without_a_path_is_one_of_memory():
    error = translated(Lzr2Error("it is damaged"))
    assert str(error) == "<memory>: it is damaged"
    assert error.path == "<memory>"
