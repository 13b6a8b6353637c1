"""The README's comparison is what the named result says: puts it there, or checks that it is.

    python tools/readme_table.py            # writes it
    python tools/readme_table.py --check    # exits 1 if it differs, and shows how

The README names the result, a JSON file of benchmarks/compare_runtimes.py, in the first of two comments:

    <!-- compared: benchmarks/results/NAME.json -->
    <!-- end of compared -->

What stands between them is replaced.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.compare.table import readme_table  # noqa: E402

_MARKED = re.compile(r"(<!-- compared: (\S+) -->\n).*?(<!-- end of compared -->)", re.DOTALL)


class MarkerError(Exception):
    """The README can't be filled as it is; the text says why."""


def filled(text: str, root: Path) -> str:
    """The text with every marked place as its result says.

    Args:
        text: of a Markdown file.
        root: that results are named from.

    Raises:
        MarkerError: there is no marked place, or its result can't be read.
    """
    if text.count("<!-- compared: ") != len(_MARKED.findall(text)):
        raise MarkerError("a comment '<!-- compared: FILE -->' isn't followed by '<!-- end of compared -->'")
    if not _MARKED.search(text):
        raise MarkerError("there is no comment '<!-- compared: FILE -->'; put it where the table belongs")
    return _MARKED.sub(lambda found: f"{found[1]}\n{_table(root / found[2])}\n{found[3]}", text)


def _table(path: Path) -> str:
    try:
        return readme_table(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise MarkerError(f"the result can't be read: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        message = f"{path} is no result of benchmarks/compare_runtimes.py ({type(error).__name__}: {error})"
        raise MarkerError(message) from error


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--root", type=Path, default=ROOT, help="that results are named from")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it differs")
    args = parser.parse_args(arguments)
    try:
        before = args.readme.read_text("utf-8")
        after = filled(before, args.root)
    except (OSError, MarkerError) as error:
        print(f"{args.readme}: {error}", file=sys.stderr)
        return 1
    if not args.check:
        args.readme.write_text(after, "utf-8")
        return 0
    names = (str(args.readme), "what the result says")
    differences = list(difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="", n=0))
    if differences:
        print("\n".join([*differences, "", "Run: python tools/readme_table.py"]), file=sys.stderr)
    return int(bool(differences))


if __name__ == "__main__":
    sys.exit(main())
