"""Opens whatever the user gave as weights, and makes sure that the model can be run with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from streamer.config import ReadMethod
from streamer.models.weight_files import files_of_folder
from streamer.sources.base import WeightSource
from streamer.sources.fit import Fit, compare, require, require_real_numbers
from streamer.sources.layered import LayeredSource
from streamer.sources.lzr2 import Lzr2Source
from streamer.sources.original_layout import unet_places, unet_prefix
from streamer.sources.placed import PlacedSource
from streamer.sources.safetensors import SafetensorsSource

_LISTED = 3


def open_weights(
    weights: Path | None,
    base: Sequence[Path],
    expected: Mapping[str, tuple[int, ...]],
    *,
    strict: bool,
    io: ReadMethod,
    warn: Callable[[str], None],
) -> WeightSource:
    """A source that gives every tensor of the model, the caller's to close; nothing that differs goes unreported.

    Args:
        weights: LZR2 or safetensors file, or a directory of safetensors files, in diffusers layout or the original
            one; None: only the base.
        base: safetensors files for tensors that the weights don't set, in either layout; opened only if needed.
        expected: key and shape of each of the model's tensors.
        strict: a tensor that the model doesn't know, or of another shape, is an error; otherwise it is reported, and a
            tensor of another shape is taken from the base.
        io: how to read.
        warn: told what doesn't fit, a line each.

    Raises:
        WeightsFileError: a file can't be used.
        WeightsMismatchError: weights and model don't fit, with every key concerned.
    """
    found = SafetensorsSource(base, io) if weights is None else open_file(weights, io)
    source = _in_diffusers_layout(found, expected)
    try:
        fit = compare(source, expected)
        if strict and (fit.unknown or fit.wrong_shape):
            misfit = _without_base(fit, base)
            require(source.name, misfit, strict=True, hint=_hint(misfit, source))
        _report(source.name, fit, warn)
        lacking = _lacking(source, expected)
        if lacking and weights is not None and base:
            warn(f"{len(lacking)} tensors that {source.name} doesn't set come from {base[0]}")
            below = _in_diffusers_layout(SafetensorsSource(base, io), expected)
            source = LayeredSource([source, below], hidden=[key for key in lacking if key in source.keys()])
            beside = compare(below, expected)
            _report(below.name, Fit((), beside.unknown, beside.wrong_shape), warn)
            fit = compare(source, expected)
        still_lacking = Fit(_lacking(source, expected), fit.unknown, fit.wrong_shape)
        require(source.name, still_lacking, strict=False, hint=_hint(still_lacking, source))
        require_real_numbers(source, expected)
    except BaseException:
        source.close()
        raise
    return source


def open_file(path: Path, io: ReadMethod) -> WeightSource:
    """A source over the file, whatever its kind; told apart by content, not by name.

    Raises:
        WeightsFileError: it is of no kind that can be read; the message names what it really is.
    """
    if path.is_dir():
        return SafetensorsSource(files_of_folder(path), io)
    if _looks_like_safetensors(path):
        return SafetensorsSource([path], io)
    return Lzr2Source(path, io)


def _in_diffusers_layout(source: WeightSource, expected: Collection[str]) -> WeightSource:
    """The same tensors under the model's keys; owns the source, and closes it if this fails."""
    try:
        keys = frozenset(source.keys())
        # A module may have such names itself.
        places = unet_places(keys, expected) if keys.isdisjoint(expected) else None
        if places is None:
            return source
        placed = {place.key for place in places.values()}
        prefix = unet_prefix(keys) or ""
        strays = [key for key, _ in source.mentioned() if key.startswith(prefix) and key not in placed]
        return PlacedSource(source, places, frozenset(strays))
    except BaseException:
        source.close()
        raise


def _looks_like_safetensors(path: Path) -> bool:
    try:
        # Not a pipe or a device: opening or reading one may never end.
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(9)
    except OSError:
        return False
    # A first key may make an LZR2 file look like the other.
    if head[:4] == b"LZR2":
        return False
    # What it is named is what its owner takes it for: then errors speak of that.
    named = path.suffix.lower() == ".safetensors"
    return named or (len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < 1 << 40)


def _lacking(source: WeightSource, expected: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Keys of the model's tensors for which the source has no values, or values of another shape."""
    given = source.keys()
    return tuple(key for key, shape in expected.items() if key not in given or source.info(key).shape != shape)


def _without_base(fit: Fit, base: Sequence[Path]) -> Fit:
    """What is missing isn't a fault where a base may give it."""
    return Fit(() if base else fit.missing, fit.unknown, fit.wrong_shape)


def _report(name: str, fit: Fit, warn: Callable[[str], None]) -> None:
    for what, keys in (
        ("tensors that this model doesn't have, left unused", fit.unknown),
        ("tensors of another shape than the model's, not used", tuple(key for key, _, _ in fit.wrong_shape)),
    ):
        if keys:
            listed = ", ".join(ascii(key)[1:-1] for key in keys[:_LISTED])
            warn(f"{name}: {len(keys)} {what}: {listed}" + (", ..." if len(keys) > _LISTED else ""))


def _hint(fit: Fit, source: WeightSource) -> str:
    question = "Is this the right model for these weights?"
    if fit.missing:
        hint = f"{question} Tensors that the file doesn't set can come from --base FILE."
        place = source.places.get(fit.missing[0]) if isinstance(source, PlacedSource) else None
        return hint if place is None else f"In this file {fit.missing[0]} would be called {place.key}. {hint}"
    return f"{question} With --no-strict what doesn't fit is left out."
