"""Which pictures are wanted, and that one that is there isn't drawn again."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.cli.batch import Job, draw_all, jobs, seeds
from streamer.cli.manifest import Manifest


def test_successive_seeds_from_the_one_given_or_any():
    assert list(jobs(["a", "b"], 7, 2, any_seed=True)) == [Job("a", 7), Job("a", 8), Job("b", 7), Job("b", 8)]
    assert list(jobs(["a"], None, 2, any_seed=True)) == [Job("a", None)] * 2
    first, second = (job.seed for job in jobs(["a"], None, 2, any_seed=False))
    assert first is not None
    assert second == first + 1
    assert list(seeds(3, 2)) == [3, 4]


class Drawn:
    """Draws small files."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.steps = folder, steps
        self.made: list[tuple[str, int]] = []
        self.skipped: list[Path] = []

    def settings(self) -> dict[str, object]:
        return {"steps": self.steps}

    def draw(self, prompt: str, seed: int) -> Path:
        self.made.append((prompt, seed))
        path = self.folder / f"{prompt}-{seed}-{self.steps}.png"
        path.write_bytes(b"picture")
        return path

    def skip(self, path: Path) -> None:
        self.skipped.append(path)


def test_a_second_run_draws_what_is_missing_or_was_drawn_otherwise(tmp_path):
    def run(steps: int) -> Drawn:
        drawing, shown = Drawn(tmp_path, steps), []
        draw_all(
            drawing,
            jobs(["a", "b"], 1, 1, any_seed=True),
            Manifest(tmp_path, pytest.fail),
            shown.append,
        )
        assert len(shown) == 2
        return drawing

    assert run(4).made == [("a", 1), ("b", 1)]
    assert (run(4).made, len(run(4).skipped)) == ([], 2)
    (tmp_path / "b-1-4.png").unlink()
    assert run(4).made == [("b", 1)]
    assert run(5).made == [("a", 1), ("b", 1)]


def test_without_a_manifest_everything_is_drawn(tmp_path):
    drawing = Drawn(tmp_path, 4)
    for _ in range(2):
        draw_all(drawing, jobs(["a"], 1, 1, any_seed=False), None, lambda path: None)
    assert drawing.made == [("a", 1)] * 2
