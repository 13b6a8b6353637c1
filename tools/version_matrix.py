"""Runs the tests against the oldest and newest versions of the libraries, each set in an environment of its own.

    python tools/version_matrix.py /tmp/matrix                        # every set whose Python is found
    python tools/version_matrix.py /tmp/matrix --only oldest --python oldest=/opt/python3.10/bin/python

Environments stay in the folder and are used again. Prints a table of what was installed and how the tests ended; exit
code 1 if one failed in any set.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/streamer/models", "tests/streamer/runtime", "tests/test_examples.py")
TOLD = ("torch", "diffusers", "transformers", "peft", "accelerate", "huggingface_hub", "numpy", "numba")


@dataclass(frozen=True)
class VersionSet:
    """Versions that are installed together.

    Attributes:
        name: of the set.
        python: as in ``python3.10``.
        pins: requirements beside the project's own; none: the newest that it allows.
    """

    name: str
    python: str
    pins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What was installed, and how many tests ended how; names of those that failed."""

    python: str
    installed: dict[str, str]
    passed: int
    skipped: int
    failed: tuple[str, ...]


SETS = (
    VersionSet(
        "oldest",
        "3.10",
        # The lower bounds in pyproject.toml; what they need in turn is as old as they ask for.
        ("torch==2.5.0", "diffusers==0.36.0", "transformers==4.49.0", "peft==0.17.0", "accelerate==1.0.0",
         "huggingface_hub==0.34.0", "numpy==1.26.4", "numba==0.60.0", "safetensors==0.4.5", "typer==0.20.0",
         "rich==13.7.1", "zlib-ng==0.5.1", "xxhash==3.4.1", "psutil==5.9.8"),
    ),
    VersionSet("between", "3.12", ("torch==2.13.0", "diffusers==0.40.0")),
    VersionSet("newest", "3.13"),
)  # fmt: skip


def environment(folder: Path, python: str, pins: tuple[str, ...]) -> Path:
    """The Python of an environment with the project and these versions in it."""
    if not (folder / "ready").exists():
        subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
        inside = next(path for path in (folder / "bin" / "python", folder / "Scripts" / "python.exe") if path.exists())
        subprocess.run([inside, "-m", "pip", "install", "-q", "-e", f"{ROOT}[test]", *pins], check=True)
        (folder / "ready").write_text(str(inside), encoding="utf-8")
    return Path((folder / "ready").read_text("utf-8"))


def installed(python: Path) -> dict[str, str]:
    """Versions of the libraries that matter, as that Python finds them."""
    program = "import json, sys; from importlib.metadata import version; "
    program += "print(json.dumps({'python': sys.version.split()[0], **{n: version(n) for n in sys.argv[1:]}}))"
    answer = subprocess.run([python, "-c", program, *TOLD], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(answer.stdout)
    return found


def read_report(report: Path) -> tuple[int, int, tuple[str, ...]]:
    """How many tests passed and were skipped, and which failed, from pytest's JUnit file."""
    passed, skipped, failed = 0, 0, []
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}.{case.get('name')}")
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, skipped, tuple(failed)


def run(python: Path, tests: list[str], report: Path) -> Result:
    """Runs the tests with that Python; their output is shown."""
    report.unlink(missing_ok=True)
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--tb=short",
        f"--junitxml={report}",
        *tests,
    ]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": ""}, check=False)
    if not report.exists():
        sys.exit("pytest ended without a report")
    versions = installed(python)
    return Result(versions.pop("python"), versions, *read_report(report))


def table(results: dict[str, Result]) -> str:
    """In Markdown: a line for each set."""
    lines = ["| | Python | " + " | ".join(TOLD) + " | passed | skipped | failed |"]
    lines.append("|---" * (len(TOLD) + 5) + "|")
    for name, it in results.items():
        cells = [name, it.python, *(it.installed[library] for library in TOLD)]
        lines.append("| " + " | ".join([*cells, str(it.passed), str(it.skipped), str(len(it.failed))]) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the environments: 2 to 8 GB each")
    parser.add_argument("--only", action="append", choices=[each.name for each in SETS], help="this set; repeatable")
    parser.add_argument(
        "--python", action="append", default=[], metavar="SET=PATH", help="the set's Python; repeatable"
    )
    parser.add_argument("--tests", nargs="+", default=list(TESTS))
    args = parser.parse_args()
    pythons = dict(each.split("=", 1) for each in args.python)
    results: dict[str, Result] = {}
    for each in SETS:
        if args.only and each.name not in args.only:
            continue
        python = pythons.get(each.name) or shutil.which(f"python{each.python}")
        if python is None:
            print(
                f"{each.name}: no python{each.python} found; name one with --python {each.name}=PATH", file=sys.stderr
            )
            continue
        inside = environment(args.folder / each.name, python, each.pins)
        results[each.name] = run(inside, args.tests, args.folder / f"{each.name}.xml")
    print(table(results))
    for name, it in results.items():
        for failed in it.failed:
            print(f"{name}: {failed} failed")
    return 1 if not results or any(it.failed for it in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
