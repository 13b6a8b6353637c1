"""What of a picture determines memory."""

from __future__ import annotations

import pytest

from streamer.models.picture_size import PictureSize, picture_nbytes


@pytest.mark.parametrize(("guided", "batch"), [(False, 1), (True, 2)])
def test_guidance_computes_two_pictures_at_once(guided, batch):
    assert PictureSize(64, 32, guided=guided).batch == batch


def test_pictures_grow_with_their_pixels():
    assert picture_nbytes(64, 32) % (64 * 32 * 3 * 4) == 0
    assert picture_nbytes(128, 32) == 2 * picture_nbytes(64, 32) > 0
