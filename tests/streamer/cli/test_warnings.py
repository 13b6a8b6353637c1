"""What a user should know is told once and kept."""

from __future__ import annotations

import warnings as of_python

import pytest

from streamer.cli.warnings import Warnings, told_through
from streamer.models import activations


def test_each_line_is_told_once_on_the_standard_error_and_kept(capfd):
    warnings = Warnings()
    for line in ("a", "b", "a"):
        warnings.tell(line)
    assert capfd.readouterr() == ("", "a\nb\n")
    assert list(warnings) == ["a", "b"]


def test_what_the_package_warns_of_by_pythons_means_is_told_as_well(capfd, monkeypatch):
    warnings = Warnings()
    others = []

    def before(message, *_: object, **__: object) -> None:
        others.append(str(message))

    monkeypatch.setattr(of_python, "showwarning", before)
    with of_python.catch_warnings():
        of_python.simplefilter("always")
        with told_through(warnings):
            of_python.warn_explicit("ours", UserWarning, activations.__file__, 7)
            of_python.warn_explicit("the disk", RuntimeWarning, activations.__file__, 7)
            of_python.warn_explicit("theirs", UserWarning, "/elsewhere.py", 7)
            of_python.warn_explicit("old", DeprecationWarning, activations.__file__, 7)
    assert list(warnings) == ["ours", "the disk"]
    assert others == ["theirs", "old"]
    assert capfd.readouterr().err == "ours\nthe disk\n"
    with pytest.raises(ZeroDivisionError), told_through(warnings):
        raise ZeroDivisionError
    assert of_python.showwarning is before
