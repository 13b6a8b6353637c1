"""Everything that is compared, by name: what builds it, from which file, with which options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Kind = Literal["resident", "peer", "this project", "reference"]
FIRST_START = "first start"
LAYERWISE = "diffusers layerwise casting"
LATTICE, GAUSSIAN = "lattice", "gaussian"
"""The two sets of weights of tools/make_synthetic_sdxl.py: lattice-heavy and overlay-heavy as LZR2."""


@dataclass(frozen=True)
class Runtime:
    """One row of the comparison.

    Attributes:
        name: shown, and unique.
        kind: ``resident`` is what times are compared with; ``reference`` only gives the result to be equal to.
        builder: of `benchmarks.compare.builders`.
        options: for the builder; JSON.
        weights: which of the two sets.
        container: suffix of the file that it loads.
        disk_copies: of the weights in the computed type that it writes before it can run.
        first_start: as on a machine where this project has never run: nothing compiled, no index kept.
    """

    name: str
    kind: Kind
    builder: str
    options: dict[str, Any] = field(default_factory=dict)
    weights: str = LATTICE
    container: str = ".safetensors"
    disk_copies: int = 0
    first_start: bool = False


def all_runtimes(budgets: Sequence[str]) -> list[Runtime]:
    """All of them, whatever the machine; what can't run here says so itself when it is tried.

    Args:
        budgets: of this project, such as ``1GB`` or, with a host budget, ``1GB/6GB``.
    """
    ours = [runtime for budget in budgets for runtime in _this_project(budget)]
    return [
        Runtime("resident", "resident", "resident"),
        Runtime("resident, overlay-heavy weights", "reference", "resident", weights=GAUSSIAN),
        Runtime(f"{LAYERWISE}, kept in float16", "peer", "layerwise_casting"),
        Runtime(f"{LAYERWISE}, loaded in float16 by hand", "peer", "layerwise_casting_by_hand"),
        Runtime("diffusers model offload", "peer", "model_offload"),
        Runtime("diffusers sequential offload", "peer", "sequential_offload"),
        *_group_offload(),
        Runtime("accelerate cpu_offload", "peer", "cpu_offload"),
        Runtime("accelerate disk_offload", "peer", "disk_offload", disk_copies=1),
        Runtime("accelerate load_checkpoint_and_dispatch to disk", "peer", "dispatch_to_disk", disk_copies=1),
        Runtime("mmgp", "peer", "mmgp", {"budget_megabytes": 1000}),
        *ours,
        *[_spilled(one) for one in ours if one.weights == GAUSSIAN][:1],
        *(replace(one, name=f"{one.name}, {FIRST_START}", first_start=True) for one in ours[:1]),
    ]


def _spilled(runtime: Runtime) -> Runtime:
    """Its decoded weights in a file of their own, none of them in host memory."""
    options = runtime.options | {"ram_budget": "0", "spill": True}
    return replace(runtime, name=f"{runtime.name}, decoded to disk", options=options, disk_copies=1)


def _group_offload() -> list[Runtime]:
    found = []
    for level in ("block_level", "leaf_level"):
        for disk, stream, pinned in (
            (False, False, False),
            (False, True, True),
            (False, True, False),
            (True, False, False),
            (True, True, False),
        ):
            name = f"diffusers group offload, {level.replace('_level', '')}"
            name += ", to disk" * disk + ", stream" * stream + ", all pinned" * pinned
            options = {"level": level, "stream": stream, "disk": disk, "pinned": pinned}
            found.append(Runtime(name, "peer", "group_offload", options, disk_copies=int(disk)))
    return found


def _this_project(budget: str) -> list[Runtime]:
    vram, _, ram = budget.partition("/")
    options = {"vram_budget": vram, "ram_budget": ram or None}
    shown = f"{vram}, host {ram}" if ram else vram
    return [
        Runtime(f"this project, LZR2 {what}, {shown}", "this project", "streamed", options, weights, container)
        if container == ".lzr2"
        else Runtime(f"this project, safetensors, {shown}", "this project", "streamed", options, weights, container)
        for what, weights, container in (
            ("lattice-heavy", LATTICE, ".lzr2"),
            ("overlay-heavy", GAUSSIAN, ".lzr2"),
            ("", LATTICE, ".safetensors"),
        )
    ]
