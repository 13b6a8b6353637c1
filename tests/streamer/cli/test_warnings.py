"""What a user should know is told once and kept."""

from __future__ import annotations

from streamer.cli.warnings import Warnings


def test_each_line_is_told_once_on_the_standard_error_and_kept(capfd):
    warnings = Warnings()
    for line in ("a", "b", "a"):
        warnings.tell(line)
    assert capfd.readouterr() == ("", "a\nb\n")
    assert list(warnings) == ["a", "b"]
