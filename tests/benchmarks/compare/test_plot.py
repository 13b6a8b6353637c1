"""The picture: well-formed, all runtimes in it, and further right and up for more memory and time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from benchmarks.compare.plot import plot
from benchmarks.compare.runtimes import Runtime
from tests.benchmarks.compare.made_up import OURS, PEER, RESIDENT, child, result

SVG = "{http://www.w3.org/2000/svg}"


def drawn(children):
    return ElementTree.fromstring(plot(result(children)))


def test_points_lie_where_their_numbers_say():
    tree = drawn(
        [
            (RESIDENT, [child([1, 1], peak=16_000)]),
            (PEER, [child([4, 4], peak=8_000)]),
            (OURS, [child([1.1, 1.1], peak=2_000)]),
        ]
    )
    x, y = ([float(circle.get(name)) for circle in tree.iter(f"{SVG}circle")] for name in ("cx", "cy"))
    assert x[2] < x[1] < x[0]
    assert y[1] < y[2] < y[0]  # up is more time


def test_every_name_is_written_also_one_with_special_characters():
    names = [RESIDENT.name, "a <peer> & co"]
    tree = drawn([(RESIDENT, [child()]), (Runtime(names[1], "peer", "x"), [child()])])
    texts = [text.text or "" for text in tree.iter(f"{SVG}text")]
    for name in names:
        assert any(text.endswith(name) for text in texts)


def test_everything_lies_within_the_picture():
    many = [(RESIDENT, [child()])] + [(Runtime(f"peer {n}", "peer", "x"), [child(peak=10**n)]) for n in range(3, 30)]
    tree = drawn(many)
    _, _, width, height = map(float, (tree.get("viewBox") or "").split())
    for text in tree.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x", -1)) <= width
        assert 0 <= float(text.get("y", -1)) <= height


def test_without_rows_there_is_an_empty_picture():
    assert list(drawn([]).iter(f"{SVG}circle")) == []
