"""The same small pipeline twice, whole and streamed, and whether both draw the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from streamer.models.demo import demo_directory

DEMO = str(demo_directory())
BUDGET = "12MB"
CALL: dict[str, Any] = {"prompt": "sun", "num_inference_steps": 2, "guidance_scale": 2.5, "output_type": "np"}
SIZE = {"width": 64, "height": 64}
PICTURE = Image.fromarray((np.random.default_rng(0).random((64, 64, 3)) * 255).astype("uint8"))
MASK = Image.fromarray((np.arange(64 * 64).reshape(64, 64) % 2 * 255).astype("uint8"))


def quiet(pipe: Any) -> Any:
    """The pipeline, without a progress bar."""
    pipe.set_progress_bar_config(disable=True)
    return pipe


def whole_pipeline(dtype: torch.dtype = torch.float32, **components: Any) -> Any:
    """As diffusers loads it."""
    loaded = StableDiffusionXLPipeline.from_pretrained(DEMO, torch_dtype=dtype, add_watermarker=False, **components)
    return quiet(loaded)


def images(pipe: Any, **arguments: Any) -> np.ndarray:
    """What it draws, always from the same noise."""
    made: np.ndarray = pipe(generator=torch.Generator("cpu").manual_seed(1), **(CALL | arguments)).images
    return made


def same(a: Any, b: Any, **arguments: Any) -> bool:
    """Whether both draw the same, bit for bit."""
    return np.array_equal(images(a, **arguments), images(b, **arguments))
