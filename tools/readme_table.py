"""The README's comparison is what the named result says: puts it there, or checks that it is.

    python tools/readme_table.py            # writes it
    python tools/readme_table.py --check    # exits 1 if it differs, and shows how

The README names the result, a JSON file of benchmarks/compare_runtimes.py, in the first of two comments:

    <!-- compared: benchmarks/results/NAME.json -->
    <!-- end of compared -->

What stands between them is replaced. There may be several such places; one that begins with

    <!-- compared: benchmarks/results/NAME.json; only: REGULAR EXPRESSION -->

tells of those runtimes alone, and one that begins with

    <!-- compared: benchmarks/results/NAME.json; in words: NAME OF A RUNTIME -->

says in a sentence what that one takes. How a result was measured stands under the last of its tables.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.compare.table import in_words, readme_table  # noqa: E402

_MARKED = re.compile(
    r"(<!-- compared: ([^\s;]+)(?:; (only|in words): (.+?))? -->\n).*?(<!-- end of compared -->)", re.DOTALL
)


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
    last = {found[2]: found.start() for found in _MARKED.finditer(text) if found[3] != "in words"}

    def made(found: re.Match[str]) -> str:
        path, name = root / found[2], found[4] or ""
        if found[3] == "in words":
            told = _told(path, lambda result: in_words(result, name) + "\n")
        else:
            how = last[found[2]] == found.start()
            told = _told(path, lambda result: readme_table(result, name, how=how))
        return f"{found[1]}\n{told}\n{found[5]}"

    return _MARKED.sub(made, text)


def _told(path: Path, tell: Callable[[dict[str, Any]], str]) -> str:
    try:
        return tell(json.loads(path.read_text("utf-8")))
    except re.error as error:
        raise MarkerError(f"{error.pattern!r} is no regular expression: {error}") from error
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
