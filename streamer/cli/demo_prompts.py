"""What the embedded demo says about itself: that it is one, what it draws, and what it doesn't know of a prompt."""

from __future__ import annotations

import typer

MORE = (
    'Most also in red, orange, yellow, green, blue, purple or pink ("blue cat face"), and all on plain backgrounds '
    '("star on yellow background").'
)


def list_prompts(*, quiet: bool) -> None:
    """Prints each thing that the demo draws, a prompt a line, so that ``--prompts-file -`` can read them.

    Args:
        quiet: nothing else, on the standard error, about colours and backgrounds.
    """
    from streamer.models.demo import demo_concepts

    for concept in sorted(demo_concepts()):
        typer.echo(concept)
    if not quiet:
        typer.echo(MORE, err=True)


def introduction() -> str:
    """One line: that this is the demo, what it can draw, and how to use SDXL."""
    from streamer.models.demo import demo_concepts

    return (
        f"This is the embedded demo: {len(demo_concepts())} things at 64 x 64 pixels (--demo-prompts lists them). "
        "For SDXL give --weights FILE, or --model stabilityai/stable-diffusion-xl-base-1.0"
    )
