"""One U-Net under every runtime that could carry it, on this machine, in one run: speed, memory, disk, results.

    python -m benchmarks.compare_runtimes --model demo
    python -m benchmarks.compare_runtimes --model full --folder sdxl/ --budgets 1GB 2GB 4GB --rounds 3

For the full size the folder has lattice.lzr2, lattice.safetensors, gaussian.lzr2 and gaussian.safetensors, made by
tools/make_synthetic_sdxl.py; each runtime whose file isn't there is listed as not run. For the demo they are made.

In each round every runtime has its turn, in a process of its own: it loads the weights as its users would, and makes
steps with the same inputs. Between rounds the order is reversed. The resident one has a turn after every few others,
and a step's time is compared with its turns just before and after: a machine that others use too changes within
minutes. Memory is what the system counted (Linux), resident pages of files included and apart; the page cache that a
runtime leans on beyond that is stated too, and a step with its files taken out of it. Environment variables of threads
are the same for all. The peers' memory is compared over the whole life of the process, which includes loading.

Writes NAME.json, NAME.md and NAME.svg into --output; the JSON anew after each process, so that an ended run isn't lost.
Exits 1 if the resident model can't run, or if this project fails or its result isn't known to be equal.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.compare import page_cache, plot, summary, table, verdict
from benchmarks.compare.device_memory import DEVICE
from benchmarks.compare.machine import machine, revision
from benchmarks.compare.model_files import CONFIGS, ModelFiles, count_weights, make_files, place
from benchmarks.compare.runtimes import Runtime, all_runtimes
from benchmarks.compare.setting import Setting
from benchmarks.compare.watch import Watched, most, python, watch
from streamer.config import parse_size
from streamer.errors import StreamerError
from streamer.processors import processors

ROOT = Path(__file__).parents[1]
BUDGETS = {"full": ["1GB", "2GB", "4GB"], "demo": ["8MB", "16MB", "32MB"]}
PIXELS = {"full": 512, "demo": 128}
FLOAT32_NBYTES = 4
NOT_TRIED = "not tried: "
"""How the reason of what nobody wanted, or nothing is there for, begins: other reasons are failures."""
_WRITTEN = ("--output", "--name")
_CACHES = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA")
"""Where this project, and what it is made of, keeps what is the same at the next start."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare_runtimes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", choices=sorted(CONFIGS), default="demo")
    parser.add_argument("--folder", type=Path, help="with the four files of weights; for the demo they are made there")
    parser.add_argument("--budgets", nargs="+", help="of this project: 1GB, or with a host budget 1GB/6GB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--resident-every", type=int, default=6, help="turns after which the resident one has another")
    parser.add_argument("--steps", type=int, default=3, help="of each process; the first isn't counted")
    parser.add_argument("--cold-steps", type=int, default=1, help="more, with the files taken out of the page cache")
    parser.add_argument("--pixels", type=int, default=None)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=None, help="default: as many as processors")
    parser.add_argument("--only", default="", help="regular expression: names to run, besides resident")
    parser.add_argument("--skip", default="", help="regular expression: names to leave out; they are listed as not run")
    parser.add_argument("--warm-start", action="store_true", help="leave files in the page cache before each process")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for each process")
    parser.add_argument("--scratch", type=Path, default=None, help="folder for what runtimes write to disk")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument(
        "--name", default=None, help="of the files written; default: the model, the device and the date"
    )
    parser.add_argument(
        "--again", type=Path, metavar="NAME.json", help="measure nothing: write its files anew from its runs"
    )
    args = parser.parse_args(arguments)
    if args.again is not None:
        return args
    if args.model == "full" and args.folder is None:
        parser.error("--model full needs --folder: make the files with tools/make_synthetic_sdxl.py")
    if args.resident_every < 1:
        parser.error("the resident one has to have its turn: --resident-every is 1 or more")
    if args.rounds < 1 or args.steps < 2:
        parser.error("at least one round of two steps is needed: the first step isn't counted")
    for budget in args.budgets or ():
        try:
            vram, slash, ram = budget.partition("/")
            parse_size(vram)
            parse_size(ram if slash else "0", least=0)
        except StreamerError as error:
            parser.error(f"--budgets: {error}")
    for option, pattern in (("--only", args.only), ("--skip", args.skip)):
        try:
            re.compile(pattern)
        except re.error as error:
            parser.error(f"{option}: {pattern!r} is no regular expression: {error}")
    return args


def missing_folder(args: argparse.Namespace) -> str:
    """Which folder would have to be there; empty if none is missing."""
    for option, folder in (("--scratch", args.scratch), ("--folder", args.folder)):
        is_made = option == "--folder" and args.model == "demo"
        if folder is not None and not is_made and not folder.is_dir():
            needed = " with its four files, by tools/make_synthetic_sdxl.py" if option == "--folder" else ""
            return f"{option}: there is no folder {folder}; make it first{needed} (docs/benchmarks.md)."
    return ""


def chosen(args: argparse.Namespace) -> list[Runtime]:
    """Those asked for; the resident ones always, for the others are compared with them."""
    runtimes = all_runtimes(args.budgets or BUDGETS[args.model])
    return [
        each
        for each in runtimes
        if (each.kind != "peer" and each.kind != "this project") or re.search(args.only, each.name)
    ]


def environment(threads: int, device: str) -> dict[str, str]:
    """The same for every runtime: one device is to be seen, or none."""
    return {
        **os.environ,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as the driver's own tool counts them
        "CUDA_VISIBLE_DEVICES": DEVICE if device == "cuda" else "",
        **_threads(threads),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }


def _threads(threads: int) -> dict[str, str]:
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "GOMP_SPINCOUNT": "5000",  # waiting threads give their processor up soon
    }


def run_one(
    runtime: Runtime, args: argparse.Namespace, files: ModelFiles, scratch: Path, threads: int
) -> tuple[Watched, int | None]:
    """One process, or why there is none; and the bytes of its files in the page cache when it was started."""
    if reason := why_not(runtime, args, files, scratch):
        return Watched(reason=NOT_TRIED + reason), None
    is_reference = runtime.kind == "reference"
    with tempfile.TemporaryDirectory(dir=scratch) as own, tempfile.TemporaryDirectory(dir=scratch) as caches:
        weights = files.weights(runtime)
        if runtime.first_start:
            weights = Path(own) / weights.name
            place(files.weights(runtime), weights)  # under a new name: the index that is kept is another file's
        setting = Setting(
            runtime.builder,
            runtime.options,
            files.model(runtime),
            weights,
            Path(own),
            scratch / f"{runtime.weights}.result",
            args.device,
            args.pixels or PIXELS[args.model],
            args.batch,
            1 if is_reference else args.steps,
            0 if is_reference else args.cold_steps,
        )
        read = page_cache.files_below(weights, files.model(runtime))
        if not args.warm_start:
            page_cache.drop(read)
        cached = page_cache.cached_nbytes(read)
        command = python("benchmarks.compare.child", setting.to_json())
        variables = environment(threads, args.device)
        if runtime.first_start:
            variables |= {name: str(Path(caches) / name) for name in _CACHES}
        return watch(command, variables, args.timeout, on_cuda=args.device == "cuda"), cached


def why_not(runtime: Runtime, args: argparse.Namespace, files: ModelFiles, scratch: Path) -> str:
    """Why the runtime can't be tried here; empty if it can."""
    if args.skip and re.search(args.skip, runtime.name):
        return f"left out by --skip {args.skip}"
    if missing := files.missing(runtime):
        return f"there is no {', '.join(missing)}"
    needed = runtime.disk_copies * FLOAT32_NBYTES * _count(files) if runtime.disk_copies else 0
    if needed > (free := shutil.disk_usage(scratch).free):
        return f"it writes {table.size(needed)}, and {table.size(free)} are free on the disk"
    return ""


def warm_up(args: argparse.Namespace, runtimes: list[Runtime], files: ModelFiles, scratch: Path, threads: int) -> None:
    """A machine's first runs compile decoders, which would be measured with whoever comes first."""
    warm = argparse.Namespace(**vars(args) | {"steps": 1, "cold_steps": 0})
    seen: set[tuple[str, str, int]] = set()  # each kind of file, and what is written decoded, has decoders of its own
    for each in runtimes:
        kind = (each.weights, each.container, each.disk_copies)
        if each.kind == "this project" and not each.first_start and kind not in seen:
            seen.add(kind)
            run_one(each, warm, files, scratch, threads)


def result_of(
    args: argparse.Namespace, runtimes: list[Runtime], records: list[dict[str, Any]], facts: dict[str, Any]
) -> dict[str, Any]:
    """All that is written."""
    rows = summary.rows(runtimes, records)
    return facts | {
        "rows": [row.to_json() for row in rows],
        "not_run": summary.not_run(runtimes, records),
        # The goals are for the full size: beside the demo's weights the libraries are what takes memory.
        "verdicts": (
            [asdict(each) for each in verdict.verdicts(rows, args.device != "cpu")] if args.model == "full" else []
        ),
        "runs": records,
    }


def write(result: dict[str, Any], output: Path, name: str) -> None:
    """The three files; each is whole or as before."""
    output.mkdir(parents=True, exist_ok=True)
    texts = {
        "json": json.dumps(result, indent=1) + "\n",
        "md": table.whole_table(result),
        "svg": plot.plot(result),
    }
    for suffix, text in texts.items():
        part = output / f".{name}.{suffix}.part"
        part.write_text(text, "utf-8")
        part.replace(output / f"{name}.{suffix}")


def facts_of(args: argparse.Namespace, arguments: list[str], files: ModelFiles, threads: int) -> dict[str, Any]:
    """What doesn't depend on any child."""
    given_folders = [path for path in (args.folder, args.scratch, args.output) if path is not None]
    places = {path: f"{path.resolve().name}/" for path in given_folders}

    def told(argument: str) -> str:
        option, equals, value = argument.rpartition("=")
        return option + equals + places.get(Path(value), value)

    given = shlex.join(map(told, without_output(arguments)))
    return {
        "format": 2,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "command": f"python -m benchmarks.compare_runtimes {given}".strip(),
        "revision": revision(ROOT),
        "machine": machine(files.folder, args.device),
        "device": args.device,
        "model": {
            "name": args.model,
            "weights": _count(files),
            "pixels": args.pixels or PIXELS[args.model],
            "batch": args.batch,
            "compute": "float32" if args.device == "cpu" else "float16",
        },
        "threads": threads,
        "environment": _threads(threads),
        "rounds": args.rounds,
        "steps": args.steps,
        "cold_start": not args.warm_start,
    }


def without_output(arguments: Sequence[str]) -> list[str]:
    """A command's arguments without where its files were written: whoever repeats it shall not replace them."""
    kept = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if before not in _WRITTEN and argument.partition("=")[0] not in _WRITTEN:
            kept.append(argument)
    return kept


def _count(files: ModelFiles) -> int:
    """Of weights, by any of the files: they all have the same tensors."""
    there = (path for path in files.all() if path.is_file())
    return next(map(count_weights, there), 0)


def write_again(path: Path) -> dict[str, Any]:
    """Rows, goals, table and plot as they follow from the runs of a result; what it holds now.

    Raises:
        OSError: it can't be read or written.
        ValueError: it isn't such a file, or names a runtime that there isn't.
    """
    try:
        told = json.loads(path.read_text("utf-8"))
        args = parse(shlex.split(told["command"])[3:])
        facts = {key: told[key] for key in told if key not in ("rows", "not_run", "verdicts", "runs")}
        facts["command"] = shlex.join(without_output(shlex.split(told["command"])))
        result = result_of(args, chosen(args), told["runs"], facts)
        write(result, path.parent, path.stem)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no result of this program ({type(error).__name__}: {error})") from error
    return result


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    if args.again is not None:
        try:
            print(table.whole_table(write_again(args.again)))
        except (OSError, ValueError) as error:
            print(f"{args.again} can't be written anew: {error}", file=sys.stderr)
            return 1
        return 0
    if missing := missing_folder(args):
        print(missing, file=sys.stderr)
        return 2
    threads = args.threads or threads_by(os.environ.get("OMP_NUM_THREADS", ""))
    with tempfile.TemporaryDirectory(prefix="compare-", dir=args.scratch) as made:
        scratch = Path(made)
        folder = args.folder or scratch / "weights"
        if args.model == "demo":
            make_files(CONFIGS["demo"], folder)
        files = ModelFiles(CONFIGS[args.model], folder, scratch / "models")
        runtimes = chosen(args)
        facts = facts_of(args, sys.argv[1:] if arguments is None else arguments, files, threads)
        name = args.name or f"{args.model}-{args.device}-{facts['date']}"
        warm_up(args, runtimes, files, scratch, threads)
        records: list[dict[str, Any]] = []

        def run(runtime: Runtime, round_: int) -> None:
            seen, cached = run_one(runtime, args, files, scratch, threads)
            records.append(summary.run_record(runtime, round_, seen, cached))
            print(f"round {round_ + 1}, {runtime.name}: {_told(records[-1])}", file=sys.stderr)
            write(result_of(args, runtimes, records, facts), args.output, name)

        resident, *others = runtimes
        run(resident, 0)
        for round_ in range(args.rounds):
            for runtime in others if round_ % 2 == 0 else reversed(others):
                earlier = [record for record in records if record["name"] == runtime.name]
                is_reference = runtime.kind == "reference"
                done, failed = any(not r["reason"] for r in earlier), sum(bool(r["reason"]) for r in earlier)
                if (is_reference and (done or failed > 1)) or (not is_reference and failed and not done):
                    continue
                if summary.turns_since(resident, records) == args.resident_every:
                    run(resident, round_)
                run(runtime, round_)
        if summary.turns_since(resident, records):
            run(resident, args.rounds - 1)
    result = result_of(args, runtimes, records, facts)
    print(table.whole_table(result))
    for line in (wrong := faults(result)):
        print(line, file=sys.stderr)
    return int(bool(wrong))


def threads_by(variable: str) -> int:
    """As the variable says, if it is a number; else as many as processors."""
    return int(variable) if variable.isdecimal() and int(variable) else processors()


def faults(result: dict[str, Any]) -> list[str]:
    """What makes it a bad result: nothing to compare with, or this project failed or gave what isn't equal."""
    found = []
    if not any(row["name"] == "resident" for row in result["rows"]):
        found.append("The resident model didn't run, so nothing was compared: see why above.")
    for row in result["rows"]:
        if row["kind"] == "this project" and row["equal"] is None:
            found.append(f"{row['name']}: there is no result of the weights loaded whole to compare its own with.")
        elif row["kind"] == "this project" and not row["equal"]:
            found.append(f"{row['name']}: the result isn't that of the weights loaded whole.")
    return found + [
        f"{each['name']}: it failed: {each['reason']}"
        for each in result["not_run"]
        if each["name"].startswith("this project") and NOT_TRIED not in each["reason"]
    ]


def _told(record: dict[str, Any]) -> str:
    if record["reason"]:
        return str(record["reason"])
    seconds = ", ".join(f"{step['seconds']:.3g}" for step in record["steps"])
    peak = most(record["peak_load_nbytes"], record["peak_steps_nbytes"])
    return f"steps of {seconds} s, {table.size(peak)}"


if __name__ == "__main__":
    sys.exit(main())
