"""The layout in which SDXL was first published and fine-tunes are shared: one file for the U-Net, the VAE and both text
encoders. Names only: each module says where a tensor of the diffusers layout is found in such a file.
"""

from streamer.sources.original_layout.checkpoint import part_places, unet_places, unet_prefix
from streamer.sources.original_layout.other_models import other_model

__all__ = ["other_model", "part_places", "unet_places", "unet_prefix"]
