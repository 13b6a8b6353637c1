"""Runs diffusers' own tests of the SDXL pipelines twice, as they are and with a streamed U-Net put in, and compares.

    python tools/run_diffusers_tests.py                        # clones the tests of the installed version
    python tools/run_diffusers_tests.py --tests ~/diffusers    # a checkout of that version

In the second run each pipeline's U-Net streams within the smallest budget that it can run with. Exit code 1 if a test
that passes without streaming doesn't with it, unless what it does is refused with an error that says what to do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

REPOSITORY = "https://github.com/huggingface/diffusers"
PLUGIN = "streamed_components"
REFUSAL = "EvictedWeightsError"
LOOKS_AT_WEIGHTS = ("test_loading_with_variants",)
"""They compare parameters in memory outside of any forward, which aren't there: what they save is tested here."""
TESTS = (
    "tests/pipelines/stable_diffusion_xl",
    "tests/pipelines/controlnet/test_controlnet_sdxl.py",
    "tests/pipelines/controlnet/test_controlnet_sdxl_img2img.py",
    "tests/pipelines/controlnet/test_controlnet_inpaint_sdxl.py",
    "tests/pipelines/pag/test_pag_sdxl.py",
    "tests/pipelines/pag/test_pag_sdxl_img2img.py",
    "tests/pipelines/pag/test_pag_sdxl_inpaint.py",
    "tests/pipelines/pag/test_pag_controlnet_sdxl.py",
    "tests/pipelines/pag/test_pag_controlnet_sdxl_img2img.py",
    "tests/lora/test_lora_layers_sdxl.py",
)


@dataclass(frozen=True)
class Outcome:
    """How one test ended: ``passed``, ``failed`` or ``skipped``, and what it said."""

    kind: str
    message: str = ""


@dataclass(frozen=True)
class Comparison:
    """What became of the tests that pass without streaming; names of tests, with what they said."""

    passed: tuple[str, ...]
    refused: dict[str, str]
    looks_at_weights: tuple[str, ...]
    failed: dict[str, str]
    failed_anyway: tuple[str, ...]
    skipped: int


def outcomes(report: Path) -> dict[str, Outcome]:
    """How each test ended, by its name, from pytest's JUnit file."""
    ended: dict[str, Outcome] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        broken = [*case.iter("failure"), *case.iter("error")]
        if broken:
            ended[name] = Outcome("failed", broken[0].get("message") or (broken[0].text or "").strip())
        elif case.find("skipped") is not None:
            ended[name] = Outcome("skipped")
        else:
            ended[name] = Outcome("passed")
    return ended


def compare(stock: dict[str, Outcome], streamed: dict[str, Outcome]) -> Comparison:
    """Sorts the tests by how they ended in both runs; one that the second run lacks has failed in it."""
    passed: list[str] = []
    refused: dict[str, str] = {}
    failed: dict[str, str] = {}
    looks: list[str] = []
    for name, before in stock.items():
        if before.kind != "passed":
            continue
        after = streamed.get(name, Outcome("failed", "it didn't run"))
        if after.kind == "passed":
            passed.append(name)
        elif name.rpartition(".")[2] in LOOKS_AT_WEIGHTS:
            looks.append(name)
        else:
            (refused if REFUSAL in after.message else failed)[name] = after.message or after.kind
    anyway = tuple(name for name, before in stock.items() if before.kind == "failed")
    skipped = sum(before.kind == "skipped" for before in stock.values())
    return Comparison(tuple(passed), refused, tuple(looks), failed, anyway, skipped)


def run(tests: Path, selected: list[str], report: Path, *, streamed: bool) -> dict[str, Outcome]:
    """Runs the tests in a process of their own; pytest's output goes to this one's."""
    here = Path(__file__).resolve().parent
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "STREAMED_COMPONENTS": "1" if streamed else "0",
    }
    command = [
        sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=short", "-p", PLUGIN, "-p", "no:cacheprovider",
        f"--junitxml={report}", "-o", "junit_family=xunit1", *selected,
    ]  # fmt: skip
    subprocess.run(command, cwd=tests, env=environment, check=False)
    if not report.exists():
        sys.exit("pytest ended without a report")
    return outcomes(report)


def checkout(folder: Path) -> Path:
    """A shallow clone of diffusers at the version that is installed."""
    tag = f"v{version('diffusers')}"
    subprocess.run(["git", "clone", "-q", "--depth", "1", "--branch", tag, REPOSITORY, str(folder)], check=True)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=Path, help="a checkout of diffusers; default: one is cloned")
    parser.add_argument("--stock", type=Path, help="JUnit file of an earlier run without streaming, instead of a run")
    parser.add_argument("--json", type=Path, help="write how the tests ended")
    parser.add_argument("selected", nargs="*", default=list(TESTS), help="files or folders in the checkout")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        tests = args.tests or checkout(Path(work) / "diffusers")
        selected = [path for path in args.selected if (tests / path.split("::")[0]).exists()]
        if args.stock is not None:
            stock = outcomes(args.stock)
        else:
            stock = run(tests, selected, Path(work) / "stock.xml", streamed=False)
        streamed = run(tests, selected, Path(work) / "streamed.xml", streamed=True)
    result = compare(stock, streamed)
    print(f"\ndiffusers {version('diffusers')}, {len(stock)} tests, {result.skipped} skipped without streaming")
    counted = (result.passed, result.refused, result.looks_at_weights, result.failed)
    print(f"pass without streaming: {sum(map(len, counted))}")
    print(f"pass with it as well:   {len(result.passed)}")
    print(f"compare weights in memory: {len(result.looks_at_weights)}")
    for title, group in (("refused with an error that says what to do", result.refused), ("FAIL", result.failed)):
        print(f"{title}: {len(group)}")
        for name, message in group.items():
            print(f"  {name}\n    {message.splitlines()[0][:200]}")
    print(f"fail without streaming: {len(result.failed_anyway)}")
    if args.json:
        report = {"diffusers": version("diffusers"), "torch": version("torch"), "skipped": result.skipped}
        report |= {"passed": list(result.passed), "refused": result.refused, "failed": result.failed}
        report |= {"look_at_weights": list(result.looks_at_weights)}
        report |= {"failed_without_streaming": list(result.failed_anyway)}
        args.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    return 1 if result.failed or not result.passed else 0


if __name__ == "__main__":
    sys.exit(main())
