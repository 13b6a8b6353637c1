"""Where a plot can be written."""

from __future__ import annotations

import pytest

from streamer.cli.plot_file import check_plot_path
from streamer.errors import SettingError


def test_pictures_in_folders_that_are_there_are_fine(tmp_path):
    check_plot_path(None)
    check_plot_path(tmp_path / "a.PNG")


@pytest.mark.parametrize(
    ("name", "said"), [("a.svg", ".png"), ("gone/a.png", "existing folder"), ("d.png", "existing")]
)
def test_others_are_refused(tmp_path, name, said):
    (tmp_path / "d.png").mkdir()
    with pytest.raises(SettingError, match=said):
        check_plot_path(tmp_path / name)
