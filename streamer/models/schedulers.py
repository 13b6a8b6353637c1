"""Schedulers by the names that people use."""

from __future__ import annotations

from typing import Any

import diffusers

from streamer.errors import SettingError

_SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "dpm++2m": ("DPMSolverMultistepScheduler", {}),
    "dpm++2m-karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpm++2m-sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2-a": ("KDPM2AncestralDiscreteScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),  # as Stable Diffusion uses it; 4 steps at least otherwise
    "unipc": ("UniPCMultistepScheduler", {}),
}


def scheduler_names() -> tuple[str, ...]:
    """All names that `make_scheduler` knows."""
    return tuple(_SCHEDULERS)


def make_scheduler(name: str, like: Any) -> Any:
    """A scheduler of this name with the settings (betas, prediction type) of the model's own.

    Args:
        name: see `scheduler_names`; case and underscores don't matter.
        like: the model's scheduler.

    Raises:
        SettingError: there is no such name, or the scheduler can't take the model's settings.
    """
    entry = _SCHEDULERS.get(name.lower().replace("_", "-"))
    if entry is None:
        raise SettingError(f"There is no scheduler {name!r}.", f"There are: {', '.join(_SCHEDULERS)}.")
    class_name, changes = entry
    try:
        return getattr(diffusers, class_name).from_config(like.config, **changes)
    except (ImportError, ValueError, NotImplementedError) as error:
        raise SettingError(f"The scheduler {name!r} can't be used with this model: {error}") from error
