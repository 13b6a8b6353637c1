"""A claimed tensor is where its block is sent from, and storage works ahead meanwhile."""

from __future__ import annotations

import torch

from streamer.plan import lay_out, make_plan
from streamer.runtime.account import Account
from streamer.runtime.read import read_tensor
from streamer.runtime.schedule import Claim
from streamer.tiers.arena import Arena
from streamer.tiers.upload import DirectUpload
from tests.streamer.tower import MemorySource

VALUES = {"a.w": torch.arange(4.0), "a.v": torch.arange(2.0) + 9, "b.w": torch.arange(3.0) - 5}


class Stopped(DirectUpload):
    def targets(self, block: int) -> None:
        return None


def test_it_is_written_and_noted_and_the_next_block_is_hinted_at_once():
    blocks = [lay_out("a", [("a.w", (4,)), ("a.v", (2,))], 4), lay_out("b", [("b.w", (3,))], 4)]
    plan = make_plan(blocks, [0, 1], 1024)
    arena = Arena(plan.arena_nbytes, torch.device("cpu"))
    views = tuple(arena.views(plan, block, torch.float32) for block in range(2))
    source, account = MemorySource(VALUES), Account()
    upload = DirectUpload(views)
    assert read_tensor(Claim(0, 0), plan, upload, source, account)
    assert source.hints == [("will need", "b.w")]
    assert read_tensor(Claim(0, 1), plan, upload, source, account)
    assert source.hints == [("will need", "b.w")]
    assert [view.tolist() for view in views[0]] == [[0, 1, 2, 3], [9, 10]]
    assert account.stats.by_block["a"].loaded_nbytes == 24
    assert not read_tensor(Claim(0, 0), plan, Stopped(views), source, account)
    assert account.stats.by_block["a"].loaded_nbytes == 24
    arena.close()
