"""The order in which a U-Net's or a VAE's blocks run, known from their names before the first forward."""

from __future__ import annotations

from collections.abc import Sequence

from streamer.runtime.bind import ModuleBlock


def execution_order(blocks: Sequence[ModuleBlock]) -> tuple[int, ...]:
    """The turns of one forward, as numbers of blocks, known before the first.

    The tree lists a level's transformers before its resnets, and the middle last; a forward alternates between resnet
    and transformer, and goes down, through the middle and up.
    """
    return tuple(sorted((i for i, b in enumerate(blocks) if not b.pinned), key=lambda i: _turn_key(blocks[i].name)))


def _turn_key(name: str) -> tuple[int, int, int, int, tuple[int, ...]]:
    """Sorts names of a U-Net's modules by when they run: phase, level, place within the level, kind, rest."""
    parts = name.split(".")
    phase = _PHASES.get(parts[0], len(_PHASES))
    rest = parts[1:]
    level = 0
    if parts[0] in ("down_blocks", "up_blocks"):
        level, rest = int(rest[0]), rest[1:]
    if not rest or rest[0] not in _KINDS_IN_LEVEL:
        return phase, level, 0, 0, tuple(int(part[-1]) if part[-1].isdigit() else 0 for part in rest)
    kind, number = _KINDS_IN_LEVEL[rest[0]], int(rest[1])
    if kind == _SAMPLER:
        number = 1 << 30  # after all resnets and transformers of the level
    if parts[0] == "mid_block" and kind == _RESNET and number > 0:
        number, kind = number - 1, _TRANSFORMER + 1  # resnet, then pairs of transformer and resnet
    within = tuple(_LEAVES.get(part, int(part) if part.isdigit() else 0) for part in rest[2:])
    return phase, level, number, kind, within


_PHASES = {"time_embedding": 0, "add_embedding": 1, "conv_in": 2, "down_blocks": 3, "mid_block": 4, "up_blocks": 5,
           "conv_norm_out": 6, "conv_out": 7}  # fmt: skip
_RESNET, _TRANSFORMER, _SAMPLER = 0, 1, 3
_KINDS_IN_LEVEL = {"resnets": _RESNET, "attentions": _TRANSFORMER, "downsamplers": _SAMPLER, "upsamplers": _SAMPLER}
_LEAVES = {"norm": -3, "proj_in": -2, "transformer_blocks": -1, "proj_out": 1 << 20}


def in_order_of_tree(blocks: Sequence[ModuleBlock]) -> tuple[int, ...]:
    """The turns of a module whose blocks run as they are listed."""
    return tuple(i for i, block in enumerate(blocks) if not block.pinned)
