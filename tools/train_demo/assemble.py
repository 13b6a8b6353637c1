"""The stage that puts the parts together: a pipeline directory in diffusers layout, float16, with its defaults."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .checkpoints import save_directory
from .draw import build_scheduler
from .drawings import SIDE
from .pictures import read_pictures
from .progress import tell
from .settings import Settings
from .shapes import load_unet, load_vae
from .stage_limits import drawing

MOST_NBYTES = 25_000_000
BUDGET = "16MB"  # the demo streams: half of its U-Net fits


def assemble(settings: Settings) -> None:
    """Writes the pipeline, what it can draw, and the words for it. Raises StageOrderError."""
    from diffusers import StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    for_drawing = settings.work / "vae_for_drawing"
    vae = load_vae(for_drawing if for_drawing.is_dir() else settings.part("vae", "vae"))
    pipeline = StableDiffusionXLPipeline(
        vae=vae.half(),
        text_encoder=CLIPTextModel.from_pretrained(settings.part("text_encoder", "text")).half(),
        text_encoder_2=CLIPTextModelWithProjection.from_pretrained(settings.part("text_encoder_2", "text")).half(),
        tokenizer=CLIPTokenizer.from_pretrained(settings.part("tokenizer", "text")),
        tokenizer_2=CLIPTokenizer.from_pretrained(settings.part("tokenizer_2", "text")),
        unet=load_unet(settings.part("unet", "unet")).half(),
        scheduler=build_scheduler(),
        add_watermarker=False,
    )
    steps, guidance = drawing(settings)
    defaults = {"steps": steps, "guidance": guidance, "width": SIDE, "height": SIDE, "vram_budget": BUDGET}

    def write(folder: Path) -> None:
        pipeline.save_pretrained(folder)
        for config in folder.rglob("*.json"):
            _forget_origin(config)
        for name in ("tokenizer", "tokenizer_2"):  # the two files that older libraries read
            for file in ("vocab.json", "merges.txt"):
                (folder / name / file).write_bytes((settings.part(name, "text") / file).read_bytes())
        (folder / "streamer.json").write_text(json.dumps(defaults, indent=2) + "\n", "utf-8")

    save_directory(write, settings.pipeline)
    said = read_pictures(settings).words
    (settings.output / "concepts.txt").write_text("".join(f"{word.name}\n" for word in said), "utf-8")
    others = {word.name: list(word.others) for word in said}
    (settings.output / "words.json").write_text(json.dumps(others, indent=0, ensure_ascii=False) + "\n", "utf-8")
    weights = settings.pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    nbytes = sum(path.stat().st_size for path in settings.pipeline.rglob("*") if path.is_file())
    tell(f"pipeline: {nbytes / 1e6:.1f} MB in {settings.pipeline}")
    tell(f"pipeline: the U-Net's SHA-256 is {hashlib.sha256(weights.read_bytes()).hexdigest()}")
    if nbytes > MOST_NBYTES:
        tell(f"pipeline: that is more than the {MOST_NBYTES / 1e6:.0f} MB that a package should carry")


def _forget_origin(config: Path) -> None:
    """Takes out the path that the part was loaded from: it says nothing elsewhere."""
    said = json.loads(config.read_text("utf-8"))
    if isinstance(said, dict) and said.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(said, indent=2) + "\n", "utf-8")
