"""The same call to a stock pipeline and to a streamed one, and whether the pixels are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from streamer.models.demo import demo_directory

DEMO = str(demo_directory())
BUDGET = "12MB"
CALL: dict[str, Any] = {
    "prompt": "sun",
    "num_inference_steps": 2,
    "guidance_scale": 2.5,
    "width": 64,
    "height": 64,
    "output_type": "np",
}
PICTURE = Image.fromarray((np.random.default_rng(0).random((64, 64, 3)) * 255).astype("uint8"))


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def images(pipe: Any, **arguments: Any) -> np.ndarray:
    torch.manual_seed(0)  # some schedulers draw from the global generator
    chosen = {key: value for key, value in (CALL | arguments).items() if value is not None}
    made: np.ndarray = pipe(generator=torch.Generator("cpu").manual_seed(1), **chosen).images
    assert np.isfinite(made).all()
    return made


def same(a: Any, b: Any, **arguments: Any) -> bool:
    return np.array_equal(images(a, **arguments), images(b, **arguments))


def scrambled(module: Any, scale: float = 0.02) -> Any:
    """The module with noise added to its weights: an adapter fresh from its class changes nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module.eval()
