"""How much of a streamed module isn't streamed: adapters and buffers, which are on the device all the time."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from streamer.runtime.bind import ModuleBlock, ParameterPlace
from streamer.runtime.torch_names import own_buffers, own_parameters


class InMemory:
    """The tensors of a module that don't stream. Their bytes are counted anew only after something changed.

    What is put into a module, torch tells, for all modules of the program: it costs a forward nothing, and everything
    that is loaded later a fraction of a microsecond for each layer. What is taken out is seen by its end.

    Args:
        root: the module.
        blocks: a partition of its parameters that stream.
    """

    def __init__(self, root: nn.Module, blocks: Sequence[ModuleBlock]) -> None:
        self._root = root
        self._streamed: dict[int, set[str]] = {}
        self._owners = [place.owner for block in blocks for place in block.places]  # alive: their ids are theirs
        for block in blocks:
            for place in block.places:
                self._streamed.setdefault(id(place.owner), set()).add(place.attribute)
        self._changed = True
        self._nbytes = 0
        self._revision = 0
        self._found: list[int] = []
        self._counted: list[weakref.ref[nn.Module]] = []
        me = weakref.ref(self)

        def changed(*_: object) -> None:
            counts = me()
            if counts is not None:
                counts.changed()

        self._told = [
            register(changed)
            for register in (
                register_module_module_registration_hook,
                register_module_parameter_registration_hook,
                register_module_buffer_registration_hook,
            )
        ]
        weakref.finalize(self, _remove, self._told)

    @property
    def nbytes(self) -> int:
        """Bytes of these tensors now."""
        if self._changed:
            self._changed = False  # first: what changes meanwhile is counted next time
            self._nbytes = self._count()
        return self._nbytes

    @property
    def revision(self) -> int:
        """Another number than before, if other modules have these tensors, or of another size."""
        _ = self.nbytes
        return self._revision

    def changed(self) -> None:
        """Tensors may have been replaced in a way that isn't told."""
        self._changed = True

    def add(self, places: Sequence[ParameterPlace]) -> None:
        """These parameters don't stream any more."""
        for place in places:
            self._streamed[id(place.owner)].discard(place.attribute)
        self._changed = True

    def streams(self, module: nn.Module, attribute: str) -> bool:
        """Whether this parameter of the module is streamed."""
        return attribute in self._streamed.get(id(module), ())

    def streamed(self) -> Iterator[tuple[str, nn.Module, str]]:
        """Of all parameters that stream, the module's name as it is now, which adapters change, and the attribute."""
        for name, module in self._root.named_modules():
            for attribute in self._streamed.get(id(module), ()):
                yield name, module, attribute

    def move(self, device: torch.device, dtype: torch.dtype) -> Callable[[], None]:
        """Brings these tensors to where the module computes, and parameters to the type in which it does.

        Returns what puts the former ones back.
        """
        parameters: list[tuple[dict[str, nn.Parameter | None], str, nn.Parameter]] = []
        buffers: list[tuple[dict[str, torch.Tensor | None], str, torch.Tensor]] = []

        def put_back() -> None:
            for own, attribute, parameter in parameters:
                own[attribute] = parameter
            for table, name, buffer in buffers:
                table[name] = buffer

        try:
            for module, attribute, parameter in self._parameters():
                if parameter.is_meta:
                    continue
                values = parameter.data.to(device, dtype if parameter.is_floating_point() else None)
                if values.dtype == parameter.dtype and values.device == parameter.device:
                    continue
                parameters.append((own_parameters(module), attribute, parameter))
                own_parameters(module)[attribute] = nn.Parameter(values, requires_grad=parameter.requires_grad)
            for module in self._root.modules():
                for name, buffer in own_buffers(module).items():
                    if buffer is not None and not buffer.is_meta:
                        moved = buffer.to(device)
                        buffers.append((own_buffers(module), name, buffer))
                        own_buffers(module)[name] = moved
        except BaseException:
            put_back()
            raise
        self._changed = True
        return put_back

    def close(self) -> None:
        """Nothing is told any more."""
        _remove(self._told)

    def _parameters(self) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
        for module in self._root.modules():
            streamed = self._streamed.get(id(module), ())
            for attribute, parameter in tuple(own_parameters(module).items()):
                if parameter is not None and attribute not in streamed:
                    yield module, attribute, parameter

    def _count(self) -> int:
        tensors: dict[int, torch.Tensor] = {}
        owners: dict[int, nn.Module] = {}
        for module, _, parameter in self._parameters():
            tensors[id(parameter)] = parameter
            owners[id(module)] = module
        for module in self._root.modules():
            for buffer in own_buffers(module).values():
                if buffer is not None:
                    tensors[id(buffer)] = buffer
                    owners[id(module)] = module
        # Of modules, not of tensors: torch refuses to swap a tensor's contents while somebody refers to it weakly.
        self._counted = [weakref.ref(module, self._gone) for module in owners.values()]
        found = [*owners, *(tensor.nbytes for tensor in tensors.values())]
        if found != self._found:
            self._found = found
            self._revision += 1
        return sum(tensor.nbytes for tensor in tensors.values() if not tensor.is_meta)

    def _gone(self, _: object) -> None:
        self._changed = True


def _remove(told: Sequence[torch.utils.hooks.RemovableHandle]) -> None:
    for handle in told:
        handle.remove()
