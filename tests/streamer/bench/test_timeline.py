"""The picture has a row for each lane, coloured where and when it was busy."""

from __future__ import annotations

import numpy as np

from streamer.bench.timeline import busiest_step, draw_timeline
from streamer.runtime.spans import Lane, Span

SPANS = [
    Span(Lane.DISK, "a", 0.0, 0.5, "worker-0", 1, 10),
    Span(Lane.DECODE, "a", 0.0, 1.0, "worker-0", 1, 10),
    Span(Lane.COMPUTE, "a", 1.0, 2.0, "main", 1),
    Span(Lane.WAIT, "b", 2.0, 3.0, "main", 2),
    Span(Lane.DECODE, "b", 2.0, 3.0, "worker-0", 2, 10),
    Span(Lane.COMPUTE, "b", 3.0, 4.0, "main", 2),
    Span(Lane.COMPUTE, "a", 4.0, 5.0, "main", 3),
]


def test_the_last_whole_step_is_drawn():
    assert busiest_step(SPANS) == 2
    assert busiest_step(SPANS[:3]) == 1
    assert busiest_step([]) == 0


def test_rows_are_coloured_in_the_half_of_the_step_in_which_they_were_busy():
    image = np.asarray(draw_timeline(SPANS, 2))
    decode, compute = image[80], image[80 + 58]
    orange, red, green = (0xF2, 0x8E, 0x2B), (0xE1, 0x57, 0x59), (0x59, 0xA1, 0x4F)
    grey = (0xF2, 0xF2, 0xF2)
    early, late = 190 + 1390 // 4, 190 + 3 * 1390 // 4
    assert tuple(decode[early]) == orange
    assert tuple(decode[late]) == grey
    assert tuple(compute[early]) == red
    assert tuple(compute[late]) in (green, (0x8C, 0xC3, 0x84))
    assert not (image == np.array((0x4E, 0x79, 0xA7))).all(axis=2).any()  # the disk's span was in another step


def test_nothing_to_draw_gives_a_picture_all_the_same():
    assert draw_timeline([], 0).size[0] == 1600
