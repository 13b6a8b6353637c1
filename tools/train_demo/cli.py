"""The command: what is asked for, and the stages in their order."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .checkpoints import remove_left_overs
from .drawings import RasteriserMissingError
from .fetch import FetchError
from .progress import tell
from .settings import MINUTES, STAGES, Settings, StageOrderError

_SMOKE_STEPS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the stages that are asked for; 0 if all were done, 2 if one couldn't be."""
    parser = _parser()
    args = parser.parse_args(arguments)
    settings = _settings(args)
    if unknown := [stage for stage in settings.stages if stage not in STAGES]:
        parser.error(f"there is no stage {', '.join(unknown)}: they are {', '.join(STAGES)}")
    if settings.work.exists() and any(settings.work.iterdir()) and not args.resume:
        parser.error(f"{settings.work} has an earlier run's work: --resume goes on with it, or name another folder")
    settings.work.mkdir(parents=True, exist_ok=True)
    remove_left_overs(settings.work)

    import torch

    _quieten()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    try:
        for stage in STAGES:
            if stage in settings.stages:
                tell(f"== {stage}")
                _runners()[stage](settings)
    except (FetchError, RasteriserMissingError, StageOrderError, FloatingPointError) as error:
        tell(f"Error: {error}")
        return 2
    return 0


def _quieten() -> None:
    """Between stages the libraries' own bars and hints would hide what is told."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="diffusers")


def _runners() -> Mapping[str, Callable[[Settings], None]]:
    from .assemble import assemble
    from .decoder import train_decoder
    from .measure import measure
    from .pictures import make_pictures
    from .text import train_text
    from .unet import train_unet
    from .vae import train_vae

    return {
        "pictures": make_pictures,
        "vae": train_vae,
        "text": train_text,
        "unet": train_unet,
        "decoder": train_decoder,
        "pipeline": assemble,
        "evaluate": measure,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train_demo.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help="folder for the pipeline, and the work until it is done")
    parser.add_argument(
        "--stages", default=",".join(STAGES), help="some of the stages, with commas (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with what is in the folder")
    parser.add_argument(
        "--start-from",
        type=Path,
        metavar="PIPELINE",
        help="a pipeline directory: its parts are taken where a stage isn't run, and the U-Net begins from its weights",
    )
    for stage, minutes in MINUTES.items():
        parser.add_argument(
            f"--minutes-{stage}", type=float, default=minutes, metavar="X", help=f"default: {minutes:g}"
        )
    parser.add_argument("--steps", type=int, help="of each stage that trains, at most")
    parser.add_argument("--batch", type=int, default=16, help="samples a step (default: %(default)s)")
    parser.add_argument("--rate-unet", type=float, metavar="X", help="the U-Net's highest learning rate")
    parser.add_argument("--guidance", type=float, metavar="X", help="the pipeline's default (default: 2.5)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of the CPU (default: as many as there are)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--prompts", type=int, help="of each kind that the evaluation draws (default: 148 names, then 40)"
    )
    parser.add_argument(
        "--drawings", type=Path, metavar="FOLDER", help="SVGs to learn from instead of the fetched ones"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="everything in under a minute, with parts too small to draw anything"
    )
    return parser


def _settings(args: argparse.Namespace) -> Settings:
    settings = Settings(
        output=args.output,
        stages=tuple(args.stages.split(",")),
        minutes={stage: getattr(args, f"minutes_{stage}") for stage in MINUTES},
        steps=args.steps,
        start_from=args.start_from,
        device=args.device,
        threads=args.threads,
        batch=args.batch,
        rate=args.rate_unet,
        guidance=args.guidance,
        seed=args.seed,
        prompts=args.prompts,
        drawings=args.drawings,
    )
    if args.smoke:
        settings = replace(settings, steps=args.steps or _SMOKE_STEPS, small=True, batch=2, prompts=args.prompts or 2)
    return settings
