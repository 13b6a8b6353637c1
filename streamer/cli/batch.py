"""The pictures of one run: each drawn, or found to be there already."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamer.cli.drawing import Drawing
from streamer.cli.manifest import Entry, Manifest, digest


@dataclass(frozen=True)
class Job:
    """A picture that is wanted.

    Attributes:
        prompt: what to draw.
        seed: of the noise; None: any.
    """

    prompt: str
    seed: int | None


def jobs(prompts: Sequence[str], seed: int | None, count: int, *, any_seed: bool) -> Iterator[Job]:
    """So many pictures of each prompt, with successive seeds.

    Args:
        prompts: what to draw.
        seed: the first of each; None: a random one.
        count: of pictures of each prompt.
        any_seed: where none is said, leave it open.
    """
    for prompt in prompts:
        if seed is None and any_seed:
            yield from (Job(prompt, None) for _ in range(count))
        else:
            yield from (Job(prompt, number) for number in seeds(seed, count))


def seeds(seed: int | None, count: int) -> range:
    """Successive seeds, from the one given or from a random one."""
    first = seed if seed is not None else secrets.randbits(32)
    return range(first, first + count)


def draw_all(drawing: Drawing, wanted: Iterator[Job], manifest: Manifest | None, show: Callable[[Path], None]) -> None:
    """Draws every picture that isn't there; with a manifest each is noted as soon as it is on the disk.

    Args:
        drawing: draws.
        wanted: pictures, in order.
        manifest: of what is there; None: nothing is noted.
        show: told of each picture's path.
    """
    settings = digest(drawing.settings()) if manifest is not None else ""
    for job in wanted:
        there = manifest.take(job.prompt, job.seed, settings) if manifest is not None else None
        if manifest is not None and there is not None:
            path = manifest.path.with_name(there.path)
            drawing.skip(path)
        else:
            seed = job.seed if job.seed is not None else secrets.randbits(32)
            path = drawing.draw(job.prompt, seed)
            if manifest is not None:
                manifest.add(Entry(job.prompt, seed, settings, path.name))
        show(path)
