"""Everything that only a GPU can show, in one command under ten minutes: one table, and a JSON file.

    python tools/gpu_acceptance.py --out benchmarks/results/
    python tools/gpu_acceptance.py --rehearse        # the same on a CPU with the small model: tests the script alone

Makes a full-size synthetic SDXL (8 GB of disk), runs `pytest -m gpu`, and draws at 1024 x 1024 with guidance within
budgets of 2 to 8 GB, each in a process of its own. Changes no setting of the GPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from streamer.bench.link_speed import measured_link
from streamer.bench.overlap import Speeds, limits
from streamer.config import UNLIMITED, parse_size
from streamer.models.demo import demo_directory
from streamer.models.open import PipelineOptions, open_pipeline
from streamer.models.pipeline import Request
from streamer.runtime.stats import Work

ROOT = Path(__file__).resolve().parent.parent
BUDGETS = ("2GB", "3GB", "4GB", "6GB", "8GB")
REHEARSED = ("11MB", "16MB", "40MB")
TIGHTEST_EFFICIENCY = 0.95
CHILD_SECONDS = 300
ALL_SECONDS = 590  # what hasn't begun by then isn't run, and says so


@dataclass(frozen=True)
class Row:
    """One line of the table; ``passed`` is None where nothing was judged."""

    what: str
    target: str
    measured: str
    passed: bool | None


@dataclass(frozen=True)
class Scale:
    """Full size on a GPU, or small on a CPU."""

    device: str
    pixels: int
    steps: int
    budgets: tuple[str, ...]

    @classmethod
    def of(cls, rehearse: bool) -> Scale:
        return cls("cpu", 64, 3, REHEARSED) if rehearse else cls("cuda", 1024, 6, BUDGETS)


def synchronize(scale: Scale) -> None:
    if scale.device == "cuda":
        torch.cuda.synchronize()


def make_files(work: Path, rehearse: bool) -> None:
    """U-Net in both containers and the other parts, at the same time."""
    small = ["--config", str(demo_directory() / "unet" / "config.json")] if rehearse else []
    parts = ["--configs", str(demo_directory()), "--unet-config", small[1]] if rehearse else []
    commands = [
        [str(ROOT / "tools" / "make_synthetic_sdxl.py"), str(work / "lattice.lzr2"), *small],
        [str(ROOT / "tools" / "make_synthetic_sdxl.py"), str(work / "lattice.safetensors"), *small],
        [str(ROOT / "tools" / "make_synthetic_pipeline.py"), str(work / "model"), *parts],
    ]

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)

    with ThreadPoolExecutor() as threads:
        for done in threads.map(run, commands):
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])


def draw(work: Path, scale: Scale, weights: str, budget: str, threads: int | None) -> dict[str, Any]:
    """One picture within a budget: seconds of each step, bytes, and a digest of the pixels. In a process of its own."""
    options = PipelineOptions(
        weights=work / weights,
        model=str(work / "model"),
        vram_budget_nbytes=parse_size(budget),
        device=scale.device,
        workers=threads,
        vae_tile=scale.pixels // 2,  # the same for every budget: pixels are compared
    )
    ended: list[float] = []

    def step_ended(step: int, steps: int) -> None:
        synchronize(scale)
        ended.append(time.perf_counter())

    with open_pipeline(options, lambda line: None) as pipeline:
        request = Request("sun", None, 1, scale.steps, 5.0, scale.pixels, scale.pixels)
        picture = pipeline.generate(request, step_ended)
        steps = pipeline.handle.stats.steps
        found = {
            "weights": weights,
            "budget_nbytes": parse_size(budget),
            "step_seconds": [after - before for before, after in pairwise(ended)],
            "work": [asdict(step.work) for step in steps[1:]],
            "decode_threads": options.workers or pipeline.parts.workers,
            "streamed_nbytes_per_step": pipeline.handle.plan.streamed_nbytes,
            "resident_nbytes": pipeline.handle.plan.resident_nbytes,
            "sha256": hashlib.sha256(picture.tobytes()).hexdigest(),
        }
        # Not torch's own count: measuring activations resets it.
        peak = pipeline.parts.device_peak_nbytes()
        if peak is not None:
            free, total = torch.cuda.mem_get_info()
            context = total - free - torch.cuda.memory_reserved()
            found |= {"max_reserved_nbytes": peak[1], "outside_nbytes": context}
    return found


def link_speed(scale: Scale) -> dict[str, Any]:
    """Bytes a second from pinned memory to the device."""
    return {"bytes_per_second": measured_link(torch.device(scale.device))}


def hooks(work: Path, scale: Scale) -> dict[str, Any]:
    """Steps of a U-Net with everything resident, with and without the engine's hooks, in turn."""
    from diffusers import UNet2DConditionModel
    from safetensors.torch import load_file

    from streamer.models.unet_inputs import StepShape, unet_inputs

    options = PipelineOptions(
        weights=work / "lattice.lzr2", model=str(work / "model"), vram_budget_nbytes=UNLIMITED, device=scale.device
    )
    with open_pipeline(options, lambda line: None) as pipeline, torch.no_grad():
        streamed = pipeline.pipe.unet
        plain = UNet2DConditionModel.from_config(streamed.config).to(streamed.dtype)
        plain.load_state_dict(load_file(work / "lattice.safetensors"))
        plain = plain.to(scale.device).eval()
        side = scale.pixels // (8 if scale.device == "cuda" else 4)
        shapes = unet_inputs(streamed.config, streamed.dtype, StepShape(side, side, 2))
        inputs = _filled(shapes, scale.device)
        seconds: dict[str, list[float]] = {"plain": [], "streamed": []}
        results = {}
        for _ in range(2 + 2 * scale.steps):
            for name, unet in (("plain", plain), ("streamed", streamed)):
                synchronize(scale)
                started = time.perf_counter()
                results[name] = unet(**inputs).sample
                synchronize(scale)
                seconds[name].append(time.perf_counter() - started)
        equal = torch.equal(results["plain"], results["streamed"])
    return {"seconds": {name: times[2:] for name, times in seconds.items()}, "equal": equal}


def _filled(value: Any, device: str) -> Any:
    random = torch.Generator().manual_seed(0)
    if isinstance(value, dict):
        return {key: _filled(entry, device) for key, entry in value.items()}
    return torch.randn(value.shape, generator=random).to(value.dtype).to(device)


def child(arguments: argparse.Namespace, left: float, *what: str) -> dict[str, Any]:
    """Runs a part of this script in a process of its own, if there are seconds left for it."""
    flags = ["--rehearse"] if arguments.rehearse else []
    command = [sys.executable, __file__, "--work", str(arguments.work), *flags, "--child", *what]
    return outcome(command, left)


def outcome(command: list[str], left: float) -> dict[str, Any]:
    """What the command printed last, as JSON; or why there is none."""
    if left <= 0:
        return {"failed": "not run: no time left"}
    seconds = min(CHILD_SECONDS, left)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {seconds:.0f} s"}
    if done.returncode:
        return {"failed": done.stderr[-2000:].strip() or f"ended with {done.returncode}, without a word"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_child(arguments: argparse.Namespace, scale: Scale) -> dict[str, Any]:
    kind, *rest = arguments.child
    if kind == "link":
        return link_speed(scale)
    if kind == "hooks":
        return hooks(arguments.work, scale)
    weights, budget, threads = rest
    return draw(arguments.work, scale, weights, budget, int(threads) if threads != "-" else None)


def judged(found: dict[str, Any], resident: float, link: float | None, name: str, rehearse: bool) -> list[Row]:
    """The rows of one budget: what it holds, and how near its steps come to the bound."""
    if "failed" in found:
        return [Row(name, "runs", found["failed"].strip().splitlines()[-1][:100], False)]
    rows = []
    if "max_reserved_nbytes" in found:
        total = found["max_reserved_nbytes"] + found["outside_nbytes"]
        held = total <= found["budget_nbytes"]
        rows.append(Row(f"{name}: memory", f"<= {found['budget_nbytes'] / 1e9:.2f} GB", f"{total / 1e9:.2f} GB", held))
    worst = 1.0
    bound = "compute"
    for seconds, work in zip(found["step_seconds"], found["work"], strict=False):
        limit = limits(resident, Work(**work), Speeds(link, None, found["decode_threads"]))
        if limit.efficiency(seconds) < worst:
            worst, bound = limit.efficiency(seconds), limit.bound
    median = statistics.median(found["step_seconds"])
    text = f"{worst:.2f} ({median:.3f} s a step, bound by {bound})"
    passed = None if rehearse else worst >= TIGHTEST_EFFICIENCY
    rows.append(Row(f"{name}: overlap efficiency, worst step", f">= {TIGHTEST_EFFICIENCY}", text, passed))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a directory for the JSON file")
    parser.add_argument("--work", type=Path, help="where the model is made, or was; default: a temporary directory")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU with the small model; nothing is a result")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    scale = Scale.of(args.rehearse)
    if args.child:
        print(json.dumps(run_child(args, scale)))
        return 0
    if scale.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --rehearse tests this script without one")
    started = time.monotonic()
    temporary = tempfile.mkdtemp() if args.work is None else None
    args.work = Path(temporary) if temporary else args.work
    try:
        return accept(args, scale, started)
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)


def accept(args: argparse.Namespace, scale: Scale, started: float) -> int:
    console = Console()
    if not (args.work / "model" / "model_index.json").exists():
        args.work.mkdir(parents=True, exist_ok=True)
        console.print("Making the model ...")
        make_files(args.work, args.rehearse)
    rows: list[Row] = []
    report: dict[str, Any] = {"rehearsal": args.rehearse, "date": time.strftime("%Y-%m-%d"), "machine": machine(scale)}

    def left() -> float:
        return started + ALL_SECONDS - time.monotonic()

    if not args.rehearse:
        console.print("pytest -m gpu ...")
        row, report["pytest"] = gpu_tests(left())
        rows.append(row)
    link = report["link"] = child(args, left(), "link")
    console.print("Everything resident ...")
    whole = report["resident"] = child(args, left(), "draw", "lattice.safetensors", "unlimited", "-")
    if "failed" in whole:
        rows.append(Row("everything resident", "runs", whole["failed"].splitlines()[-1][:100], False))
    # Without it, no step's computing is known, and the bound is that of the link and the decoders.
    resident = statistics.median(whole.get("step_seconds", [0.0]))
    report["draws"] = []
    for weights in ("lattice.lzr2", "lattice.safetensors"):
        for budget in scale.budgets:
            console.print(f"{weights}, {budget} ...")
            found = child(args, left(), "draw", weights, budget, "-")
            report["draws"].append(found)
            rows += judged(found, resident, link.get("bytes_per_second"), f"{weights}, {budget}", args.rehearse)
    one = child(args, left(), "draw", "lattice.lzr2", scale.budgets[0], "1")
    report["draws"].append(one)
    digests = [found.get("sha256") for found in (whole, *report["draws"])]
    text = f"{digests.count(digests[0]) if digests[0] else 0} of {len(digests)} pictures"
    rows.append(
        Row(
            "same pixels for every budget, container and thread count",
            "all",
            text,
            len(set(digests)) == 1 and digests[0] is not None,
        )
    )
    console.print("Hooks ...")
    hooked = report["hooks"] = child(args, left(), "hooks")
    if "failed" in hooked:
        rows.append(Row("hooks with everything resident", "<= 1 %", hooked["failed"][-100:], False))
    else:
        ratios = [s / p for s, p in zip(hooked["seconds"]["streamed"], hooked["seconds"]["plain"], strict=True)]
        cost = statistics.median(ratios) - 1
        judged_hooks = None if args.rehearse else cost <= 0.01
        rows.append(Row("hooks with everything resident", "<= 1 % of a step", f"{cost:.1%}", judged_hooks))
        rows.append(Row("same bits as plain torch", "equal", str(hooked["equal"]), hooked["equal"]))
    report["rows"] = [asdict(row) for row in rows]
    report["seconds"] = round(time.monotonic() - started)
    show(console, rows, report["seconds"])
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        kind = "rehearsal" if args.rehearse else "gpu"
        path = args.out / f"{kind}-{report['date']}.json"
        path.write_text(json.dumps(report, indent=1), "utf-8")
        console.print(f"Written to {path}")
    return 0 if all(row.passed is not False for row in rows) else 1


def gpu_tests(left: float) -> tuple[Row, str]:
    """Runs `pytest -m gpu`; its row, and the end of what it printed."""
    what = "pytest -m gpu"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu"]
    try:
        tests = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=min(CHILD_SECONDS, left))
    except subprocess.TimeoutExpired as late:
        return Row(what, "all pass", f"not done after {late.timeout:.0f} s", False), str(late.stdout or "")[-4000:]
    last = (tests.stdout.strip().splitlines() or ["nothing"])[-1]
    return Row(what, "all pass", last, tests.returncode == 0), tests.stdout[-4000:]


def machine(scale: Scale) -> dict[str, Any]:
    described: dict[str, Any] = {"system": platform.platform(), "torch": torch.__version__, "python": sys.version}
    if scale.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        described |= {"gpu": properties.name, "memory_nbytes": properties.total_memory, "cuda": torch.version.cuda}
    return described


def show(console: Console, rows: list[Row], seconds: int) -> None:
    table = Table("what", "target", "measured", "")
    for row in rows:
        table.add_row(row.what, row.target, row.measured, {True: "holds", False: "FAILS", None: "-"}[row.passed])
    console.print(table)
    console.print(f"{seconds} s in all")


if __name__ == "__main__":
    sys.exit(main())
