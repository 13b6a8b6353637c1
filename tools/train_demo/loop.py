"""Training for a time: learning rate, averaged weights, checkpoints; what was interrupted goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from .checkpoints import load_checkpoint, save_checkpoint
from .progress import Progress, tell

Loss = Callable[[int, float], tuple[torch.Tensor, int]]
"""The loss of a step, from its number and the share of the stage that is done, and of how many samples it is."""


@dataclass(frozen=True)
class Limits:
    """When a stage ends: at whichever comes first.

    Attributes:
        minutes: of training.
        steps: None: as many as fit.
    """

    minutes: float
    steps: int | None = None

    def share(self, seconds: float, step: int) -> float:
        """Of the stage that is done, 0 to 1."""
        by_time = seconds / (self.minutes * 60) if self.minutes > 0 else 1.0
        by_steps = step / self.steps if self.steps else 0.0
        return min(1.0, max(by_time, by_steps))


@dataclass(frozen=True)
class Pace:
    """How a stage learns.

    Attributes:
        rate: the highest learning rate.
        floor: the last, as a share of the highest; between them half a cosine.
        warm_up: steps from 0 to the highest.
        average: of weights over steps: the share that the old ones keep; 0 for none.
        decay: of weights.
        clip: the gradient's greatest norm.
    """

    rate: float
    floor: float = 0.01
    warm_up: int = 200
    average: float = 0.0
    decay: float = 0.01
    clip: float = 1.0

    def rate_at(self, step: int, share: float) -> float:
        """The learning rate of a step."""
        cosine = self.floor + (1 - self.floor) * (1 + math.cos(math.pi * share)) / 2
        return self.rate * min(1.0, (step + 1) / max(1, self.warm_up)) * cosine


class Averaged:
    """An exponential average of a model's weights, short at first.

    Args:
        model: whose.
        keep: the share that the old ones keep at each step; 0: the weights themselves.
    """

    def __init__(self, model: nn.Module, keep: float) -> None:
        self._model = model
        self._keep = keep
        self.tensors = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the model's weights in."""
        keep = min(self._keep, (1 + step) / (10 + step))
        new = self._model.state_dict()
        pairs = [(mean, new[name]) for name, mean in self.tensors.items() if mean.is_floating_point()]
        torch._foreach_lerp_([mean for mean, _ in pairs], [value for _, value in pairs], 1 - keep)


def train(
    name: str,
    model: nn.Module,
    loss: Loss,
    *,
    limits: Limits,
    pace: Pace,
    folder: Path,
    checkpoint_minutes: float = 3.0,
    on_checkpoint: Callable[[], None] = lambda: None,
) -> None:
    """Trains until the limits, from where the last run was; the model then has the averaged weights.

    Args:
        name: of the stage, and of its checkpoint and log in the folder.
        model: what is trained: its parameters that ask for gradients.
        loss: computes one step's.
        limits: when it ends.
        pace: how it learns.
        folder: of the work.
        checkpoint_minutes: between checkpoints.
        on_checkpoint: called after each with the averaged weights in the model.
    """
    path = folder / f"{name}.checkpoint"
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=pace.rate, weight_decay=pace.decay, betas=(0.9, 0.99), fused=True)
    averaged = Averaged(model, pace.average)
    step, before = 0, 0.0
    if path.is_file():
        state = load_checkpoint(path)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        for key, value in state["averaged"].items():
            averaged.tensors[key].copy_(value)
        step, before = int(state["step"]), float(state["seconds"])
        tell(f"{name}: goes on at step {step}, after {before / 60:.1f} minutes")
    progress = Progress(name, folder / f"{name}.log.jsonl", before)
    saved = time.monotonic()

    def save() -> None:
        state = {
            "step": step,
            "seconds": progress.seconds,
            "model": model.state_dict(),
            "averaged": averaged.tensors,
            "optimizer": optimizer.state_dict(),
        }
        save_checkpoint(state, path)
        own = {key: value.clone() for key, value in model.state_dict().items()}
        model.load_state_dict(averaged.tensors)
        on_checkpoint()
        model.load_state_dict(own)

    while (share := limits.share(progress.seconds, step)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = pace.rate_at(step, share)
        value, samples = loss(step, share)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, pace.clip)
        optimizer.step()
        step += 1
        averaged.update(step)
        number = float(value.detach())
        if not math.isfinite(number):
            raise FloatingPointError(f"{name}: the loss of step {step} is {number}. --resume goes on from {path}.")
        progress.step(step, number, samples, limits.share(progress.seconds, step))
        if time.monotonic() - saved > checkpoint_minutes * 60:
            save()
            saved = time.monotonic()
    save()
    model.load_state_dict(averaged.tensors)


def step_random(seed: int, step: int) -> torch.Generator:
    """Chance that depends on the seed and the step alone, so that a resumed run goes on as an uninterrupted one."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % (1 << 62))
