"""One tensor on its way from the source to where its block is sent from."""

from __future__ import annotations

import time

from streamer.plan import Plan
from streamer.runtime.account import Account
from streamer.runtime.schedule import Claim
from streamer.sources.base import WeightSource
from streamer.tiers.targets import write
from streamer.tiers.upload import Upload


def read_tensor(claim: Claim, plan: Plan, upload: Upload, source: WeightSource, account: Account) -> bool:
    """Writes the claimed tensor to where its block is sent from; False once stopped. A worker thread.

    Args:
        claim: of which tensor.
        plan: that has the block.
        upload: says where to, and waits for room there.
        source: of the weights.
        account: takes note of it.
    """
    block = plan.blocks[claim.block]
    place = block.tensors[claim.tensor]
    if claim.tensor == 0:
        _read_ahead(claim.block, plan, upload, source)
    targets = upload.targets(claim.block)
    if targets is None:
        return False
    started = time.perf_counter()
    account.reads.take()
    write(source, place.key, targets[claim.tensor])
    account.loaded(block.name, place, started, time.perf_counter())
    return True


def _read_ahead(block: int, plan: Plan, upload: Upload, source: WeightSource) -> None:
    """Tells the system what is read after this block: storage then works while this one is decoded."""
    following = plan.loaded_next.get(block)
    if following is not None and not upload.holds(following):
        for place in plan.blocks[following].tensors:
            source.will_need(place.key)
