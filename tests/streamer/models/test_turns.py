"""The order of blocks as their names tell it; that of a whole U-Net and VAE is compared with what ran elsewhere."""

from __future__ import annotations

from torch import nn

from streamer.models.turns import execution_order, in_order_of_tree
from streamer.runtime.bind import ModuleBlock


def blocks(*names: str) -> list[ModuleBlock]:
    return [ModuleBlock("rest", nn.Identity(), (), pinned=True), *(ModuleBlock(n, nn.Identity(), ()) for n in names)]


def test_down_through_the_middle_and_up_resnets_before_their_transformers():
    listed = blocks(
        "conv_in",
        "up_blocks.0.resnets.0",
        "up_blocks.0.upsamplers.0",
        "down_blocks.0.attentions.0.transformer_blocks.0",
        "down_blocks.0.resnets.0",
        "down_blocks.0.downsamplers.0",
        "mid_block.attentions.0",
        "mid_block.resnets.0",
        "mid_block.resnets.1",
        "conv_out",
    )
    assert [listed[i].name for i in execution_order(listed)] == [
        "conv_in",
        "down_blocks.0.resnets.0",
        "down_blocks.0.attentions.0.transformer_blocks.0",
        "down_blocks.0.downsamplers.0",
        "mid_block.resnets.0",
        "mid_block.attentions.0",
        "mid_block.resnets.1",
        "up_blocks.0.resnets.0",
        "up_blocks.0.upsamplers.0",
        "conv_out",
    ]


def test_in_order_of_tree_leaves_out_what_is_pinned():
    assert in_order_of_tree(blocks("b", "a")) == (1, 2)
