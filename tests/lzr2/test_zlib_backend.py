"""Which library is taken: the fast one where it is installed, Python's own without it."""

from __future__ import annotations

import sys
import zlib

import pytest

from lzr2.zlib_backend import fastest


def test_zlib_ng_where_it_is_installed():
    zlib_ng = pytest.importorskip("zlib_ng.zlib_ng")
    assert fastest() is zlib_ng


def test_pythons_own_without_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "zlib_ng.zlib_ng", None)
    assert fastest() is zlib
    assert fastest().decompress(zlib.compress(b"x")) == b"x"
