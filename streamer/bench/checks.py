"""What is well on a machine and what has to be mended, from facts alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from streamer.bench.machine_facts import Facts, Gpu, Package, Weights
from streamer.bench.storage_kind import StorageKind
from streamer.config import format_size
from streamer.errors import printable

_WHEELS = "https://download.pytorch.org/whl/"
_OLD = (7, 0)  # up to this, Volta: the CUDA 12.8 builds of torch and later ones have nothing for them
_NEW = (10, 0)  # from this on, Blackwell: builds before CUDA 12.8 have nothing for them
_FIRST = (5, 0)  # torch 2.5, the oldest that is supported, was built for nothing older
_UNTOLD = (0, 0)
_LEAST_VRAM = 10**9  # context, kernels, the largest block twice and activations of a small picture
_LEAST_RAM = 10**9  # the libraries alone take 0.7 GB
_AMPLE_RAM = 4 * 10**9
_OF_FREE_VRAM = 0.95  # as when no budget is given
_SYSTEM_NBYTES = 10**9  # of free memory that is left to others


def _command(build: str, torch: str = "torch") -> str:
    return f"pip install --force-reinstall {torch} --index-url {_WHEELS}cu{build.replace('.', '')}"


FOR_OLD_GPUS = (
    "GTX 9xx, GTX 10xx and Titan V need a CUDA 12.6 build of torch, and 2.14 was the last with one; builds for later "
    "CUDA leave them out: " + _command("12.6", '"torch<2.15"')
)
"""What mends a torch that has no code for such a device. Source: PyTorch's notice of 2026-09-04 on CUDA 12.6 wheels."""

_SLOW = {
    StorageKind.SPINNING: "Copy the weights to an SSD, or give --ram-budget: what is kept isn't read again.",
    StorageKind.USB: "USB storage may be as slow as a spinning disk: `streamer bench storage` measures it.",
    StorageKind.CARD: "Copy the weights to an SSD, or give --ram-budget: what is kept isn't read again.",
    StorageKind.NETWORK: "Copy the weights to a local disk: a network that pauses stalls every step.",
    StorageKind.SHARED: "Copy the weights onto the virtual machine's own disk.",
}


class Level(str, Enum):
    """How a check ended."""

    OK = "ok"
    ADVICE = "advice"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        level: a fault has to be mended.
        subject: of the check, a word or two.
        text: what was found.
        hint: what to do about it; None where there is nothing to do.
    """

    level: Level
    subject: str
    text: str
    hint: str | None = None


@dataclass(frozen=True)
class Budgets:
    """That suit a machine, in bytes. ``ram`` is for weights kept between steps; ``device`` is what computes."""

    device: str
    vram_nbytes: int
    ram_nbytes: int


def findings(facts: Facts) -> tuple[Finding, ...]:
    """All checks, the device first."""
    return (
        *_device(facts),
        *_memory(facts),
        *_pinned(facts),
        *_packages(facts.packages.items()),
        *_weights(facts.weights),
    )


def is_well(found: Iterable[Finding]) -> bool:
    """Whether nothing has to be mended."""
    return all(one.level is not Level.FAULT for one in found)


def recommended(facts: Facts) -> Budgets:
    """What `streamer gen` can be given on this machine; on a device that works, nearly all that is free."""
    usable = max(0, facts.ram_free_nbytes - _SYSTEM_NBYTES)
    roomy = _first_with_room(facts)
    if roomy is None:
        return Budgets("cpu", facts.ram_free_nbytes // 2, usable // 4)
    return Budgets(f"cuda:{roomy}", int((facts.torch_gpus[roomy].free_nbytes or 0) * _OF_FREE_VRAM), usable // 2)


def _first_with_room(facts: Facts) -> int | None:
    """The first GPU that works and has memory enough."""
    for number, gpu in enumerate(facts.torch_gpus):
        works = _gpu(gpu, facts).level is not Level.FAULT
        if works and gpu.free_nbytes is not None and gpu.free_nbytes >= _LEAST_VRAM:
            return number
    return None


def runs_on(architectures: Iterable[str], capability: tuple[int, int]) -> bool:
    """Whether code built for these runs on a device of this compute capability.

    Machine code (``sm_60``) runs on its own major capability with the same minor or a larger one; what is compiled on
    the device (``compute_60``) on every later one; what is for one architecture only (``sm_90a``) on that one.

    Args:
        architectures: as `torch.cuda.get_arch_list` names them.
        capability: major and minor.
    """
    for name in architectures:
        parsed = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)
        if parsed is None:
            continue
        built = int(parsed.group(2)), int(parsed.group(3))
        if parsed.group(4) == "a":
            fits = built == capability
        elif parsed.group(1) == "compute":
            fits = built <= capability
        else:
            fits = built[0] == capability[0] and built[1] <= capability[1]
        if fits:
            return True
    return False


def build_for(capability: tuple[int, int]) -> str | None:
    """The CUDA version of the torch build that a device needs, such as ``12.6``; None: no build has code for it.

    Args:
        capability: major and minor.
    """
    if capability < _FIRST:
        return None
    return "12.8" if capability >= _NEW else "12.6"


def _device(facts: Facts) -> Iterator[Finding]:
    if facts.torch_gpus:
        checked = [_gpu(gpu, facts) for gpu in facts.torch_gpus]
        works = next((number for number, found in enumerate(checked) if found.level is not Level.FAULT), None)
        roomy = _first_with_room(facts)
        for number, (gpu, found) in enumerate(zip(facts.torch_gpus, checked, strict=True)):
            better = works if roomy is None else roomy
            yield found if better is None or found.level is not Level.FAULT else _beside(found, number, better)
            if found.level is not Level.FAULT:
                yield from _vram(gpu, number, roomy)
        return
    if not facts.driver_gpus and facts.driver_fault is not None:
        yield Finding(
            Level.ADVICE,
            "device",
            f"There is an NVIDIA driver, but it tells of no GPU: {printable(facts.driver_fault)}",
            "The CPU computes. If there is a GPU, install a newer driver, or the same anew, and restart.",
        )
        return
    if not facts.driver_gpus:
        yield Finding(Level.OK, "device", "No NVIDIA GPU was found; the CPU computes.")
        return
    for gpu in facts.driver_gpus:
        if facts.torch_cuda is None:
            yield Finding(
                Level.FAULT,
                "device",
                f"There is a {_name(gpu)}, but this torch was built for the CPU only.",
                _install(gpu.capability),
            )
        elif build_for(gpu.capability) is None:
            yield _too_old(gpu)
        else:
            yield Finding(
                Level.FAULT,
                "device",
                f"There is a {_name(gpu)}, but this torch (CUDA {facts.torch_cuda}) doesn't reach it with driver "
                f"{facts.driver}.",
                "Install a newer driver, or a torch built for an older CUDA. Is CUDA_VISIBLE_DEVICES set?",
            )


def _gpu(gpu: Gpu, facts: Facts) -> Finding:
    if facts.torch_hip is None and gpu.capability == _UNTOLD and gpu.fault is not None:
        return _unusable(gpu)
    if facts.torch_hip is None and build_for(gpu.capability) is None:
        return _too_old(gpu)
    # ROCm has names of its own for architectures: there the trial tells.
    if facts.torch_hip is None and not runs_on(facts.torch_architectures, gpu.capability):
        built = ", ".join(facts.torch_architectures) or "nothing that is known"
        return Finding(
            Level.FAULT,
            "device",
            f"{_name(gpu)}: this torch (CUDA {facts.torch_cuda}) has no code for it; it was built for {built}.",
            _install(gpu.capability),
        )
    if gpu.fault is not None:
        return _unusable(gpu)
    built = f"CUDA {facts.torch_cuda}" if facts.torch_hip is None else f"ROCm {facts.torch_hip}"
    return Finding(Level.OK, "device", f"{_name(gpu)}; this torch ({built}) has code for it.")


def _unusable(gpu: Gpu) -> Finding:
    return Finding(
        Level.FAULT,
        "device",
        f"{_name(gpu)} was found, but can't compute: {printable(gpu.fault or '')}",
        "Close what else uses it, or install a newer driver and restart.",
    )


def _vram(gpu: Gpu, number: int, roomy: int | None) -> Iterator[Finding]:
    if gpu.free_nbytes is None or gpu.total_nbytes is None:
        return
    text = f"{format_size(gpu.free_nbytes)} of {format_size(gpu.total_nbytes)} are free on cuda:{number}."
    if gpu.free_nbytes < _LEAST_VRAM and roomy is not None:
        if number > 0:
            used = ", and is what is used" if roomy == 0 else ""
            yield Finding(Level.ADVICE, "device memory", text, f"cuda:{roomy} has room{used}.")
        else:  # the first is what is used if nobody says
            hint = f"Give --device cuda:{roomy}, which has room, or close what else uses this one."
            yield Finding(Level.FAULT, "device memory", text, hint)
    elif gpu.free_nbytes < _LEAST_VRAM:
        yield Finding(Level.FAULT, "device memory", text, "Close what else uses it, or compute with --device cpu.")
    elif gpu.free_nbytes < gpu.total_nbytes // 2:
        yield Finding(Level.ADVICE, "device memory", text, "Closing what else uses it makes steps faster.")
    else:
        yield Finding(Level.OK, "device memory", text)


def _name(gpu: Gpu) -> str:
    return f"{printable(gpu.name)} (compute capability {gpu.capability[0]}.{gpu.capability[1]})"


def _too_old(gpu: Gpu) -> Finding:
    return Finding(
        Level.FAULT, "device", f"{_name(gpu)} is older than any that torch has code for.", "Compute with --device cpu."
    )


def _install(capability: tuple[int, int]) -> str:
    build = build_for(capability)
    if build is None:
        return "Compute with --device cpu: no build of torch has code for it."
    if capability <= _OLD:
        return FOR_OLD_GPUS
    return f"Install a CUDA {build} build of torch, or a later one: {_command(build)}"


def _beside(found: Finding, number: int, works: int) -> Finding:
    """Of a GPU that can't be used beside one that can: what would mend it might break the other."""
    if number > 0:
        used = ", and is what is used" if works == 0 else ""
        return replace(found, level=Level.ADVICE, hint=f"cuda:{works} works{used}.")
    # The first is what is used if nobody says.
    return replace(found, hint=f"Give --device cuda:{works}, which works, or set CUDA_VISIBLE_DEVICES={works}.")


def _memory(facts: Facts) -> Iterator[Finding]:
    text = f"{format_size(facts.ram_free_nbytes)} of {format_size(facts.ram_total_nbytes)} of host memory are free."
    if facts.ram_free_nbytes < _LEAST_RAM:
        yield Finding(Level.FAULT, "host memory", text, "Close other programs: the libraries alone need 0.7 GB.")
    elif facts.ram_free_nbytes < _AMPLE_RAM:
        yield Finding(Level.ADVICE, "host memory", text, "Closing other programs lets more weights be kept.")
    else:
        yield Finding(Level.OK, "host memory", text)
    if facts.processors < 2:
        yield Finding(
            Level.ADVICE,
            "processors",
            "One processor: decoding and the rest take turns.",
            "Use two or more if you can.",
        )
    else:
        yield Finding(Level.OK, "processors", f"{facts.processors} may be used.")


def _pinned(facts: Facts) -> Iterator[Finding]:
    trial = facts.pinned
    if trial is None:
        return
    if trial.fault is None:
        yield Finding(
            Level.OK, "page-locked memory", f"{format_size(trial.nbytes)} were given in {trial.seconds * 1e3:.0f} ms."
        )
    else:
        yield Finding(
            Level.ADVICE,
            "page-locked memory",
            f"{format_size(trial.nbytes)} were refused: {printable(trial.fault)}",
            "Uploads are slower without. Raise the limit (ulimit -l, or the container's), or close other programs.",
        )


def _packages(packages: Iterable[tuple[str, Package]]) -> Iterator[Finding]:
    faults = []
    for name, package in packages:
        if package.installed is None:
            if package.everywhere:
                faults.append(name)
                yield Finding(
                    Level.FAULT, "packages", f"{name} isn't installed.", f"pip install {_wanted(name, package)}"
                )
        elif package.least is not None and _numbers(package.installed) < _numbers(package.least):
            faults.append(name)
            yield Finding(
                Level.FAULT,
                "packages",
                f"{name} is {package.installed}; {package.least} or later is needed.",
                f"pip install --upgrade {_wanted(name, package)}",
            )
    if not faults:
        yield Finding(Level.OK, "packages", "All that are needed are there.")


def _wanted(name: str, package: Package) -> str:
    return f"'{name}>={package.least}'" if package.least else name


def _numbers(version: str) -> tuple[int, ...]:
    """Of a version, without trailing zeros: 2.4.1+cu121 is (2, 4, 1)."""
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[+a-z]", version, maxsplit=1)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _weights(weights: Weights | None) -> Iterator[Finding]:
    if weights is None:
        return
    if weights.fault is not None:
        yield Finding(
            Level.FAULT, "weights", printable(weights.fault), "Check the path, and `streamer verify` the file."
        )
        return
    text = f"{format_size(weights.nbytes)} on {weights.storage.text()}."
    hint = _SLOW.get(weights.storage.kind)
    yield Finding(Level.OK if hint is None else Level.ADVICE, "weights", text, hint)
