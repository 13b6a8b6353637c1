"""What ``state_dict()`` and ``save_pretrained()`` of a streamed module give: true values or an error."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from streamer.errors import EvictedWeightsError
from streamer.runtime.bind import ModuleBlock, ParameterPlace
from streamer.runtime.diffusers_names import only_names_are_asked_for
from streamer.runtime.in_memory import InMemory
from streamer.runtime.peft_layers import adapters_are_loaded_or_saved
from streamer.runtime.torch_names import own_parameters

_SAVE = "save_pretrained"
SHARD = "1GB"
"""Of a file that is saved: so much is in memory while it is written."""


class StateDict:
    """Answers for the module's weights where somebody wants all of them.

    A state dict is refused, also of a part, but to those who want adapters, or names; and so is one that would replace
    streamed weights. Saving the module writes what the source has.

    It works as long as somebody has it: the module's hooks don't keep it.

    Args:
        root: the module.
        blocks: a partition of its streamed parameters.
        in_memory: what of the module doesn't stream.
        read: gives a parameter's values, in host memory of their own, in the parameter's type.
    """

    def __init__(
        self,
        root: nn.Module,
        blocks: Sequence[ModuleBlock],
        in_memory: InMemory,
        read: Callable[[ParameterPlace], torch.Tensor],
    ) -> None:
        self._root = root
        self._in_memory = in_memory
        self._read = read
        self._places = {(id(p.owner), p.attribute): p for block in blocks for p in block.places}
        self._saving = False
        self._hooks: dict[int, list[RemovableHandle]] = {}  # by the module's id
        # Of each module that has streamed weights: parts of the whole are asked as well. The whole is asked first, so
        # that it is refused before anything is loaded.
        owners = {id(p.owner): p.owner for block in blocks for p in block.places}
        for number, module in {id(root): root, **owners}.items():
            self._hooks[number] = _hooked(module, weakref.ref(self))
        save = getattr(root, _SAVE, None)
        if save is not None:
            root.__dict__[_SAVE] = self._saved(save)

    def remove(self) -> None:
        """The module has a state dict like any other."""
        for hook in itertools.chain.from_iterable(self._hooks.values()):
            hook.remove()
        self._hooks.clear()
        self._root.__dict__.pop(_SAVE, None)

    def forget(self, places: Sequence[ParameterPlace]) -> None:
        """These parameters don't stream any more: parts without any that do are like any others.

        Args:
            places: that `InMemory` knows of already.
        """
        for place in places:
            if place.owner is not self._root and not any(self._own_places(place.owner)):
                for hook in self._hooks.pop(id(place.owner), []):
                    hook.remove()

    def _refuse(self, module: nn.Module, *_: Any) -> None:
        if self._saving or only_names_are_asked_for():
            return
        if adapters_are_loaded_or_saved():
            self._in_memory.changed()  # those that are there may get other contents
            return
        if module is not self._root and not any(self._own_places(module)):
            return  # its weights don't stream any more
        raise EvictedWeightsError(
            "The weights of this module are streamed: most of them aren't in memory, so state_dict() can't give them, "
            "nor can offloading by other means move them.",
            "Read them from the weight file itself, for example with lzr2.open() or safetensors; save_pretrained() "
            "writes them. Instead of offloading take a smaller vram_budget.",
        )

    def _refuse_loading(self, module: nn.Module, state: Mapping[str, Any], prefix: str, *_: Any) -> None:
        places = self._named_places() if module is self._root else self._own_places(module)
        found = next((name for name, _ in places if prefix + name in state), None)
        if found is not None:
            raise EvictedWeightsError(
                f"The weights of this module are streamed from a file, so load_state_dict() can't replace {found}.",
                "Load the model anew with a file of these weights. With memory for all weights, detach() makes an "
                "ordinary module, which can be given others. Adapters can be loaded as they are.",
            )

    def _fill(self, module: nn.Module, state: dict[str, Any], prefix: str, __: object) -> None:
        """Keys and shapes, as who loads adapters asks for; while the module is saved, what reads the values in turn."""
        for name, place in self._own_places(module):
            empty = torch.empty(place.shape, dtype=place.parameter.dtype, device="meta")
            state[prefix + name] = _Unread.of(empty, self._read, place) if self._saving else empty

    def _own_places(self, module: nn.Module) -> Iterator[tuple[str, ParameterPlace]]:
        for attribute in tuple(own_parameters(module)):
            if self._in_memory.streams(module, attribute):
                yield attribute, self._places[id(module), attribute]

    def _named_places(self) -> Iterator[tuple[str, ParameterPlace]]:
        for name, module, attribute in self._in_memory.streamed():
            yield (f"{name}.{attribute}" if name else attribute), self._places[id(module), attribute]

    def _saved(self, save: Callable[..., Any]) -> Callable[..., Any]:
        takes_values = "state_dict" in inspect.signature(save).parameters

        @functools.wraps(save)  # pipelines look at the signature
        def save_pretrained(*args: Any, **kwargs: Any) -> Any:
            if any(name != place.key for name, place in self._named_places()):
                return save(*args, **kwargs)  # with adapters: theirs alone can be saved
            with self.while_saving():
                if takes_values and kwargs.get("state_dict") is None:
                    kwargs["state_dict"] = {k: v.contiguous() for k, v in self._root.state_dict().items()}
                return save(*args, **{"max_shard_size": SHARD, **kwargs})

        return save_pretrained

    @contextlib.contextmanager
    def while_saving(self) -> Iterator[None]:
        """Meanwhile the state dict has everything: what streams is read when it is made contiguous."""
        self._saving = True
        try:
            yield
        finally:
            self._saving = False


def _hooked(module: nn.Module, me: weakref.ref[StateDict]) -> list[RemovableHandle]:
    return [
        module.register_state_dict_pre_hook(_Asked(me, StateDict._refuse)),
        module.register_state_dict_post_hook(_Asked(me, StateDict._fill)),
        module.register_load_state_dict_pre_hook(_Asked(me, StateDict._refuse_loading)),
    ]


class _Asked:
    """A hook that asks whoever answers, without keeping it alive; nor is the module copied that has it."""

    def __init__(self, me: weakref.ref[StateDict], answers: Callable[..., None]) -> None:
        self._me = me
        self._answers = answers

    def __call__(self, *args: Any) -> None:
        it = self._me()
        if it is None:
            raise EvictedWeightsError(
                "The module that this is a part of isn't there any more, and its streamed weights aren't either.",
                "Keep the whole module, or release() this part of its handle before it goes.",
            )
        self._answers(it, *args)

    def __deepcopy__(self, _: object) -> Any:
        raise EvictedWeightsError(
            "The weights of this module are streamed: most of them aren't in memory, so it can't be copied.",
            "Call release() of the handle with this part first: from then on it is in memory.",
        )


class _Unread(torch.Tensor):
    """A tensor of the right shape and type, on the meta device, that reads its values when it is about to be written.

    Whoever writes shard after shard so has one of them in memory at a time.
    """

    read_values: Callable[[], torch.Tensor]

    @classmethod
    def of(cls, empty: torch.Tensor, read: Callable[[ParameterPlace], torch.Tensor], place: ParameterPlace) -> _Unread:
        """Stands for the parameter at the place."""
        it = empty.as_subclass(cls)
        it.read_values = lambda: read(place)
        return it

    def contiguous(self, *_: Any, **__: Any) -> torch.Tensor:
        """The values, in memory of their own."""
        return self.read_values()
