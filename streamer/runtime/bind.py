"""Parameters and slots: a parameter is pointed at its slot while its block is there, and at nothing otherwise."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from streamer.runtime.torch_names import own_parameters


@dataclass(frozen=True)
class ParameterPlace:
    """Where a parameter hangs in the module tree, and under which key its values are found.

    Attributes:
        key: in the weights.
        owner: the module that has it.
        attribute: its name there.
    """

    key: str
    owner: nn.Module
    attribute: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the parameter."""
        return tuple(self.parameter.shape)

    @property
    def parameter(self) -> nn.Parameter:
        """The parameter as it is now."""
        parameter = own_parameters(self.owner)[self.attribute]
        assert parameter is not None
        return parameter


@dataclass(frozen=True)
class ModuleBlock:
    """One block of a module tree.

    Attributes:
        name: of the module.
        module: whose forward is the block's turn.
        places: its parameters.
        pinned: it must always stay; ``module`` is then the root.
        runway: see `streamer.plan.Block`.
    """

    name: str
    module: nn.Module
    places: tuple[ParameterPlace, ...]
    pinned: bool = False
    runway: bool = False


class Binder:
    """Points parameters at their slots and away again. One thread at a time.

    A parameter whose block isn't there keeps its shape, type and device, and holds NaN: used by mistake it shows.

    Args:
        blocks: whose parameters are bound, from `begin` on.
        device: that the parameters shall be on.
        dtype: that they shall have.
    """

    def __init__(self, blocks: Sequence[ModuleBlock], device: torch.device, dtype: torch.dtype) -> None:
        nothing = torch.full((), math.nan, dtype=dtype, device=device)
        self._blocks = tuple(blocks)
        self._keys = [[place.key for place in block.places] for block in blocks]
        self._parameters: list[list[nn.Parameter]] = []
        self._placeholders = [[nothing.expand(place.shape) for place in block.places] for block in blocks]
        self._bound: dict[int, bool] = {}  # False: an interrupt may have left it half way

    def begin(self) -> None:
        """All parameters become placeholders; what they held is let go of. Once, before anything is bound.

        If this is interrupted, they hold it again.
        """
        before = [(place, place.parameter, place.parameter.data) for block in self._blocks for place in block.places]
        try:
            self._parameters = [
                [_replaced(place, empty) for place, empty in zip(block.places, placeholders, strict=True)]
                for block, placeholders in zip(self._blocks, self._placeholders, strict=True)
            ]
        except BaseException:
            for place, parameter, values in before:
                parameter.data = values
                own_parameters(place.owner)[place.attribute] = parameter
            raise
        self._blocks = ()  # which would keep the module alive

    def bind(self, block: int, views: Sequence[torch.Tensor]) -> None:
        """Points the block's parameters at the views, if they aren't yet."""
        if self._bound.get(block):
            return
        self._bound[block] = False
        for parameter, view in zip(self._parameters[block], views, strict=True):
            parameter.data = view
        self._bound[block] = True

    def unbind(self, block: int) -> None:
        """Makes placeholders of the block's parameters, if they aren't yet."""
        if block not in self._bound:
            return
        self._bound[block] = False
        for parameter, empty in zip(self._parameters[block], self._placeholders[block], strict=True):
            parameter.data = empty
        del self._bound[block]

    def drop(self, keys: Collection[str]) -> None:
        """The parameters of these keys are bound no more; they stay what they are. None of their blocks is bound."""
        for block, own in enumerate(self._keys):
            stay = [i for i, key in enumerate(own) if key not in keys]
            self._keys[block] = [own[i] for i in stay]
            self._parameters[block] = [self._parameters[block][i] for i in stay]
            self._placeholders[block] = [self._placeholders[block][i] for i in stay]

    def unbind_all(self) -> None:
        """Makes placeholders of all parameters."""
        for block in tuple(self._bound):
            self.unbind(block)


def _replaced(place: ParameterPlace, empty: torch.Tensor) -> nn.Parameter:
    """The parameter, now a placeholder: the same object where it has a device, a new one where it had none yet."""
    parameter = place.parameter
    is_other = parameter.is_meta or parameter.dtype != empty.dtype or parameter.device != empty.device
    if is_other or parameter.is_inference():  # one made in inference mode stays unusable outside, whatever it holds
        # torch takes other kernels for half precision on a CPU when a weight doesn't require gradients.
        parameter = nn.Parameter(empty, requires_grad=parameter.requires_grad)
        own_parameters(place.owner)[place.attribute] = parameter
    else:
        parameter.data = empty
    return parameter
