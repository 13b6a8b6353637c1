"""The embedded demo: SDXL's architecture made small, trained on flat emoji, complete within this package."""

from streamer.models.demo.files import demo_concepts, demo_directory
from streamer.models.demo.weights import demo_weights

__all__ = ["demo_concepts", "demo_directory", "demo_weights"]
