"""Draws the demo's 148 concepts as they were taught: the references that tests compare pictures with.

    pip install resvg-py==0.5.0
    python tools/make_demo_references.py

Needs npm, which fetches the pictures (@iconify-json/fluent-emoji-flat 1.2.6, MIT). Writes a sheet of tiles, one concept
each, in the order of the demo's list. The same input gives the same file.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from streamer.models.demo import demo_concepts

PACKAGE = "@iconify-json/fluent-emoji-flat@1.2.6"
SIDE = 64  # pixels
COLUMNS = 16
OTHER_NAMES = {"red triangle pointed up": "red-triangle"}
DEFAULT = Path(__file__).parent.parent / "tests" / "data" / "demo" / "references.png"


def fetch_icons() -> dict[str, Any]:
    """The package's icons by name."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as tar:
            member = tar.extractfile("package/icons.json")
            assert member is not None
            content: dict[str, Any] = json.load(member)
            return content


def icon_body(icons: dict[str, Any], concept: str) -> str:
    """The concept's drawing."""
    body: str = icons["icons"][OTHER_NAMES.get(concept, concept.replace(" ", "-"))]["body"]
    return body


def rasterise(body: str, side: int) -> Image.Image:
    """The drawing on white, ``side`` x ``side`` pixels."""
    import resvg_py

    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="{side}" height="{side}">{body}</svg>'
    png = resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff", width=side, height=side)
    return Image.open(io.BytesIO(bytes(png))).convert("RGB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, nargs="?", default=DEFAULT)
    args = parser.parse_args()
    if importlib.util.find_spec("resvg_py") is None:
        parser.error("resvg-py isn't installed: pip install resvg-py==0.5.0")
    if shutil.which("npm") is None:
        parser.error("npm isn't installed; it comes with Node.js")
    concepts = demo_concepts()
    icons = fetch_icons()
    sheet = Image.new("RGB", (COLUMNS * SIDE, -(-len(concepts) // COLUMNS) * SIDE), "white")
    for i, concept in enumerate(concepts):
        tile = rasterise(icon_body(icons, concept), SIDE)
        sheet.paste(tile, (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.output, optimize=True)
    print(f"{args.output}: {len(concepts)} concepts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
