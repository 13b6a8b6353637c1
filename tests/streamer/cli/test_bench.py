"""`streamer bench` names what it can measure."""

from __future__ import annotations


def test_help_names_every_measurement(streamer):
    done = streamer("bench", "--help")
    assert done.code == 0
    for name in ("storage", "decode", "stream"):
        assert name in done.out
