"""What SDXL's U-Net moves in a step, with and without blocks that move and stay packed: calculated, nothing is run.

    python -m benchmarks.device_decode_bytes
    python -m benchmarks.device_decode_bytes --d 8 --overlay-share 0.05 --budgets 1GB,2GB

Every matrix and kernel is taken to have so many indices and overlay entries as a lattice-heavy file would; vectors are
dense. Operations are counted on tensors without memory.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from streamer.config import format_size, parse_size
from streamer.models.sdxl import sdxl_unet_config
from streamer.models.turns import execution_order
from streamer.models.unet import empty_unet, unet_blocks
from streamer.plan import Block, Plan, lay_out, make_plan
from streamer.plan.packed import InflatedSizes, scratch_nbytes
from streamer.sources.inflated import InflatedSections
from streamer.tiers.expand import Expander

SDXL_CONFIG = sdxl_unet_config()
META = torch.device("meta")


def sizes_of(shape: tuple[int, ...], d: int, overlay_share: float) -> InflatedSizes | None:
    """Of a tensor in a lattice-heavy file."""
    if len(shape) < 2:
        return None
    rows, columns = shape[0], math.prod(shape[1:])
    return InflatedSizes(rows, columns, d, -(-columns // d), round(rows * columns * overlay_share))


def sdxl_blocks(d: int, overlay_share: float) -> tuple[list[Block], tuple[int, ...]]:
    """The blocks in float16, with their packed forms, and their order."""
    modules = unet_blocks(empty_unet(json.loads(SDXL_CONFIG.read_text("utf-8"))))
    blocks = [
        lay_out(
            block.name,
            [(place.key, place.shape) for place in block.places],
            2,
            pinned=block.pinned,
            runway=block.runway,
            inflated=[sizes_of(place.shape, d, overlay_share) for place in block.places],
        )
        for block in modules
    ]
    return blocks, execution_order(modules)


class Counting(TorchDispatchMode):
    """Counts operations that write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def operations(block: Block, scratch_nbytes: int) -> int:
    """That expand one block; a tensor that is dense within it is copied by one."""
    assert block.packed is not None
    expander, scratch, counting = Expander(META), memory_of(scratch_nbytes), Counting()
    for place in block.packed.places:
        if place.inflated is None:
            counting.count += 1
            continue
        sections = InflatedSections.within(memory_of(place.inflated.nbytes), place.inflated)
        out = torch.empty(place.inflated.weights, dtype=torch.float16, device=META)
        with counting:
            expander.expand(sections, out, scratch)
    return counting.count


def memory_of(nbytes: int) -> torch.Tensor:
    """Bytes without memory."""
    return torch.empty(nbytes, dtype=torch.uint8, device=META)


def row(name: str, plan: Plan) -> str:
    """One line of the table."""
    expanded = [i for i in plan.order if i in plan.packed]
    count = {i: operations(plan.blocks[i], plan.scratch.nbytes) for i in set(expanded)}
    cells = (
        name,
        len(plan.resident),
        len(plan.kept),
        len(set(plan.streamed)),
        format_size(plan.landing.nbytes + plan.scratch.nbytes),
        format_size(plan.streamed_nbytes),
        format_size(sum(plan.blocks[i].nbytes for i in expanded)),
        f"{sum(count[i] for i in expanded):,}",
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--d", type=int, default=10)
    parser.add_argument("--overlay-share", type=float, default=0.01)
    parser.add_argument("--budgets", default="250MB,500MB,1GB,1.5GB,2GB,3GB,4GB,6GB")
    args = parser.parse_args()

    blocks, order = sdxl_blocks(args.d, args.overlay_share)
    dense = [replace(block, packed=None) for block in blocks]
    packed_nbytes = sum(block.packed.nbytes if block.packed else block.nbytes for block in blocks)
    largest = max(block.nbytes for block in blocks)
    dense_nbytes = sum(block.nbytes for block in blocks)
    print(f"{len(blocks)} blocks, {format_size(dense_nbytes)} dense, {format_size(packed_nbytes)} packed")
    print(f"largest block {format_size(largest)}, scratch memory {format_size(scratch_nbytes(largest))}\n")
    heads = ("budget", "stay dense", "stay packed", "stream", "workspace", "copied", "expanded", "operations")
    print("| " + " | ".join(heads) + " |")
    print("|---" * len(heads) + "|")
    for text in args.budgets.split(","):
        print(row(f"{text}, dense", make_plan(dense, order, parse_size(text))))
        print(row(f"{text}, packed", make_plan(blocks, order, parse_size(text))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
