"""The size of a step that is measured or predicted: the picture's, or the model's own where nobody says."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.models.defaults import latent_factor
from streamer.models.open import OpenedUnet
from streamer.models.picture_size import picture_nbytes
from streamer.models.pipeline import check_sides
from streamer.models.unet_inputs import StepShape, unet_activations
from streamer.tiers.device_memory import context_nbytes


@dataclass(frozen=True)
class StepSize:
    """Of one forward of the U-Net.

    Attributes:
        width: of the picture, pixels.
        height: of the picture, pixels.
        shape: of the latent.
        beside_nbytes: of a budget that isn't for weights: activations, the picture, the device's context.
    """

    width: int
    height: int
    shape: StepShape
    beside_nbytes: int


def step_size(opened: OpenedUnet, width: int | None, height: int | None, guidance: float | None) -> StepSize:
    """What is asked for, completed by the model's defaults.

    Args:
        opened: the U-Net.
        width: of the picture, pixels.
        height: of the picture, pixels.
        guidance: scale; above 1 a step computes twice.

    Raises:
        SettingError: such a picture can't be drawn.
    """
    across = opened.defaults.width if width is None else width
    down = opened.defaults.height if height is None else height
    check_sides(across, down)
    factor = latent_factor(opened.model.config("vae"))
    guided = (opened.defaults.guidance if guidance is None else guidance) > 1
    shape = StepShape(max(1, across // factor), max(1, down // factor), 2 if guided else 1)
    beside = unet_activations(dict(opened.unet.config), opened.dtype, shape, opened.device)
    return StepSize(across, down, shape, beside + picture_nbytes(across, down) + context_nbytes(opened.device))
