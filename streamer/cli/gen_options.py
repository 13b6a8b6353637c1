"""The options of ``streamer gen``, in the panels in which ``--help`` shows them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

_PICTURE = "The picture"
_MODEL = "The model"
_PICTURES = "Drawing from pictures"
_ADAPTERS = "LoRAs and refiner"
_MANY = "Many pictures"
_MEMORY = "Memory and speed"
_OUTPUT = "Output"


class ReadChoice(str, Enum):
    """How the weight file is read."""

    auto = "auto"
    mmap = "mmap"
    pread = "pread"


Prompts = Annotated[
    list[str] | None, typer.Argument(metavar="PROMPT...", help="What to draw: one picture for each prompt.")
]

# The picture
Negative = Annotated[
    str | None, typer.Option(help="What to keep away from.", metavar="PROMPT", rich_help_panel=_PICTURE)
]
Steps = Annotated[int | None, typer.Option(help="Denoising steps. Default: the model's.", rich_help_panel=_PICTURE)]
Width = Annotated[
    int | None,
    typer.Option(
        help="Pixels, a multiple of 8. Default: the model's, or in --image's proportions.", rich_help_panel=_PICTURE
    ),
]
Height = Annotated[int | None, typer.Option(help="As --width.", rich_help_panel=_PICTURE)]
Guidance = Annotated[float | None, typer.Option(help="Guidance scale. Default: the model's.", rich_help_panel=_PICTURE)]
Seed = Annotated[
    int | None,
    typer.Option(help="Of the noise. Default: a random one, which is told.", rich_help_panel=_PICTURE),
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="euler, euler-a, ddim, dpm++2m, unipc, ... Default: the model's.", rich_help_panel=_PICTURE),
]

# The model
Weights = Annotated[
    Path | None,
    typer.Option(
        help="The U-Net's weights: an LZR2 or safetensors file. A single-file checkpoint brings its own text "
        "encoders and VAE.",
        metavar="FILE",
        rich_help_panel=_MODEL,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Everything else: a directory in diffusers layout, a hub id, or 'demo'. "
        "Default: what fits the weights (SDXL base 1.0, or the embedded demo).",
        metavar="DIR_OR_HUB_ID",
        rich_help_panel=_MODEL,
    ),
]
Base = Annotated[
    Path | None,
    typer.Option(help="Safetensors for tensors that the weights don't set.", metavar="FILE", rich_help_panel=_MODEL),
]
Strict = Annotated[
    bool,
    typer.Option(
        help="Weights that the model doesn't know, or of another shape, are an error.", rich_help_panel=_MODEL
    ),
]
DemoPrompts = Annotated[
    bool,
    typer.Option("--demo-prompts", help="List what the embedded demo can draw, and end.", rich_help_panel=_MODEL),
]

# Drawing from pictures
Image = Annotated[
    Path | None,
    typer.Option(help="A picture to draw anew.", metavar="FILE", rich_help_panel=_PICTURES),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        help="Where --image is drawn anew: white. Of its proportions.", metavar="FILE", rich_help_panel=_PICTURES
    ),
]
Strength = Annotated[
    float | None,
    typer.Option(
        help="How much of --image is drawn anew: above 0, up to 1. Default: 0.6; with --mask 0.99.",
        rich_help_panel=_PICTURES,
    ),
]
Control = Annotated[
    list[str] | None,
    typer.Option(
        help="A ControlNet (directory, safetensors file or hub id) and the picture that it sees. May be repeated.",
        metavar="MODEL IMAGE",
        rich_help_panel=_PICTURES,
    ),
]
ControlScale = Annotated[
    list[float] | None,
    typer.Option(
        help="How much each --control counts: one for all, or one for each. Default: 1.",
        metavar="X",
        rich_help_panel=_PICTURES,
    ),
]
IpAdapter = Annotated[
    str | None,
    typer.Option(
        help="An IP-Adapter (safetensors file) and the picture that is part of the prompt.",
        metavar="FILE IMAGE",
        rich_help_panel=_PICTURES,
    ),
]
IpScale = Annotated[
    float | None,
    typer.Option(help="How much that picture counts. Default: 0.6.", metavar="X", rich_help_panel=_PICTURES),
]
IpEncoder = Annotated[
    Path | None,
    typer.Option(
        help="The IP-Adapter's image encoder. Default: a folder image_encoder beside it.",
        metavar="DIR",
        rich_help_panel=_PICTURES,
    ),
]

# LoRAs and refiner
Lora = Annotated[
    list[str] | None,
    typer.Option(
        help="A LoRA and how much of it is added, 1 if not said. May be repeated. Needs the package peft.",
        metavar="FILE[:SCALE]",
        rich_help_panel=_ADAPTERS,
    ),
]
Refiner = Annotated[
    str | None,
    typer.Option(
        help="A model that makes the last steps; only its U-Net is used.",
        metavar="DIR_OR_HUB_ID",
        rich_help_panel=_ADAPTERS,
    ),
]
RefineFrom = Annotated[
    float | None,
    typer.Option(
        help="Share of the steps after which the refiner takes over. Default: 0.8.",
        metavar="X",
        rich_help_panel=_ADAPTERS,
    ),
]

# Many pictures
Count = Annotated[
    int, typer.Option(help="Pictures of each prompt, with successive seeds.", min=1, rich_help_panel=_MANY)
]
PromptsFile = Annotated[
    str | None,
    typer.Option(
        help="One line, one picture; # begins a comment; - is the standard input. Run again, it goes on where it "
        "ended: manifest.jsonl beside the pictures says what is there.",
        metavar="FILE",
        rich_help_panel=_MANY,
    ),
]
Interactive = Annotated[
    bool,
    typer.Option("--interactive", "-i", help="Ask for prompts until quit, exit, q or Ctrl-D.", rich_help_panel=_MANY),
]
Grid = Annotated[
    str | None,
    typer.Option(
        help="A contact sheet of all pictures of this run; auto: grid.png beside them.",
        metavar="FILE|auto",
        rich_help_panel=_MANY,
    ),
]

# Memory and speed
VramBudget = Annotated[
    str | None,
    typer.Option(
        help="Most memory on the device (the computer's own with --device cpu) for everything: weights, "
        "activations, text encoders, VAE, CUDA's context. 4GB, 512MiB, unlimited. Default: the model's, or what "
        "is free.",
        metavar="SIZE",
        rich_help_panel=_MEMORY,
    ),
]
RamBudget = Annotated[
    str | None,
    typer.Option(
        help="Most host memory for keeping weights between steps, so that they needn't be decoded again. "
        "0: none. Default: half of what is free with a GPU; without, up to a quarter, for what saves most time.",
        metavar="SIZE",
        rich_help_panel=_MEMORY,
    ),
]
VaeTile = Annotated[
    str | None,
    typer.Option(
        help="Decode the picture in tiles of so many pixels; off: whole. Default: whole where that fits into the "
        "budget, else in the largest tiles that do.",
        metavar="PIXELS",
        rich_help_panel=_MEMORY,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cuda, cuda:N or cpu.", rich_help_panel=_MEMORY)]
Prefetch = Annotated[bool, typer.Option(help="Load the next blocks while one computes.", rich_help_panel=_MEMORY)]
Threads = Annotated[
    int | None,
    typer.Option(help="Threads that read and decode ahead. Default: up to 4.", min=1, max=64, rich_help_panel=_MEMORY),
]
Spill = Annotated[
    Path | None,
    typer.Option(
        help="Keep decoded weights in this folder, on a fast local disk, where decoding them again at each step "
        "takes longer: for overlay-heavy LZR2 files and little memory. Up to 2 bytes a weight (5.1 GB for SDXL); "
        "the file stays for the next time and may be deleted.",
        metavar="DIR",
        rich_help_panel=_MEMORY,
    ),
]
Io = Annotated[ReadChoice, typer.Option(help="How to read the weight file.", rich_help_panel=_MEMORY)]

# Output
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="A PNG file or a directory. Default: here.",
        metavar="PATH",
        rich_help_panel=_OUTPUT,
    ),
]
JsonLine = Annotated[
    bool,
    typer.Option("--json", help="Print one line of JSON about everything at the end.", rich_help_panel=_OUTPUT),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=_OUTPUT)]
Trace = Annotated[
    Path | None,
    typer.Option(
        help="Write what was busy when: .json for Chrome or Perfetto, .png to look at.",
        metavar="FILE",
        rich_help_panel=_OUTPUT,
    ),
]
