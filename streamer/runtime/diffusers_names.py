"""What is known of diffusers' inside: how offloading in groups and IP-Adapters are told, and who asks for keys only."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from torch import nn

_IMAGE_ADAPTERS = (
    "IPAdapterAttnProcessor", "IPAdapterAttnProcessor2_0", "IPAdapterXFormersAttnProcessor",
    "MultiIPAdapterImageProjection",
)  # fmt: skip
_OFFLOADING = "group_offloading"  # the hook's name
_LOOKS_UP_KEYS = "_maybe_expand_lora_scales_for_one_adapter"


def is_offloaded_in_groups(module: nn.Module) -> bool:
    """Whether diffusers moves the module's weights in groups: its own hooks are also there for other things."""
    # Leaves have the hooks, and blocks; older text encoders have theirs one level further down.
    children = list(module.children())
    grandchildren = [each for child in children for each in child.children()]
    return any(_is_offloaded(each) for each in (module, *children, *grandchildren))


def _is_offloaded(module: nn.Module) -> bool:
    registry: Any = getattr(module, "_diffusers_hook", None)
    return registry is not None and registry.get_hook(_OFFLOADING) is not None


def is_image_adapter(module: nn.Module) -> bool:
    """Whether the module is what loading an IP-Adapter puts into a U-Net."""
    return type(module).__name__ in _IMAGE_ADAPTERS


def only_names_are_asked_for() -> bool:
    """Whether a state dict is made for its keys: scales by block, of an IP-Adapter or a LoRA, are looked up in them."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == _LOOKS_UP_KEYS:
            return True
        frame = frame.f_back
    return False
