"""What a pipeline draws with besides its own parts: ControlNets, LoRAs, an IP-Adapter, a refiner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from streamer.models.controlnet import find_control, stream_control
from streamer.models.ip_adapter import AppliedIpAdapter, IpAdapterFile, apply_ip_adapter
from streamer.models.lora import AppliedLora, LoraFile, apply_loras
from streamer.models.parts import PipelineParts
from streamer.models.refiner import Refiner, open_refiner


@dataclass(frozen=True)
class ExtraOptions:
    """What a user may add to a pipeline.

    Attributes:
        controls: ControlNets: directories, files or hub ids.
        loras: files with their scales.
        ip_adapter: a file, and where its image encoder is.
        refiner: a directory or a hub id.
    """

    controls: tuple[str, ...] = ()
    loras: tuple[LoraFile, ...] = ()
    ip_adapter: IpAdapterFile | None = None
    refiner: str | None = None


@dataclass(frozen=True)
class Extras:
    """What was added to a pipeline. Its parts own the streamed ones.

    Attributes:
        controls: name and module of each ControlNet.
        loras: that are added up.
        ip_adapter: that lets it see a picture.
        refiner: that may take over.
    """

    controls: tuple[tuple[str, nn.Module], ...] = ()
    loras: tuple[AppliedLora, ...] = ()
    ip_adapter: AppliedIpAdapter | None = None
    refiner: Refiner | None = None

    @property
    def control_modules(self) -> tuple[nn.Module, ...]:
        """The ControlNets."""
        return tuple(module for _, module in self.controls)

    def settings(self) -> dict[str, Any]:
        """For a picture's metadata; empty if nothing was added."""
        made: dict[str, Any] = {}
        if self.controls:
            made["control_models"] = [_short(name) for name, _ in self.controls]
        if self.loras:
            made["loras"] = [lora.settings() for lora in self.loras]
        if self.ip_adapter is not None:
            made["ip_adapter"] = self.ip_adapter.settings()
        if self.refiner is not None:
            made["refiner"] = _short(self.refiner.name)
        return made


def add_extras(
    pipe: Any,
    parts: PipelineParts,
    wanted: ExtraOptions,
    device: torch.device,
    dtype: torch.dtype,
    scheduler: str | None,
    notify: Callable[[str], None],
    warn: Callable[[str], None],
) -> Extras:
    """Everything that the user wants is part of the pipeline, within its budget, or an error says what can't be.

    Args:
        pipe: of diffusers, with streamed parts.
        parts: of the pipeline; they close what is added.
        wanted: by the user.
        device: to compute on.
        dtype: to compute in.
        scheduler: that the user chose, for the refiner too; None: its own.
        notify: told of what takes time, a line each.
        warn: told what doesn't fit, a line each.

    Raises:
        StreamerError: anything that the user can act on.
    """
    # What is only looked at comes first: a wrong file is told of before anything large is fetched.
    controls = [find_control(name, notify) for name in wanted.controls]
    loras = apply_loras(pipe, wanted.loras)
    ip_adapter = None
    if wanted.ip_adapter is not None:
        ip_adapter = apply_ip_adapter(pipe, wanted.ip_adapter, parts, device, dtype, notify)
    modules = [
        (control.name, stream_control(control, number, parts, dtype))
        for number, control in enumerate(controls, start=1)
    ]
    refiner = None
    if wanted.refiner is not None:
        refiner = open_refiner(wanted.refiner, pipe, parts, dtype, scheduler, notify, warn)
    return Extras(tuple(modules), loras, ip_adapter, refiner)


def _short(name: str) -> str:
    """Without the machine's folders; a hub id as it is."""
    return Path(name).name if Path(name).exists() else name
