"""Pictures that a picture is made from: read whole, upright, and with an error that names the file."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from streamer.errors import ImageFileError, SettingError

_LARGEST_PIXELS = 1 << 28  # 16384 x 16384
_LARGEST_NBYTES = 1 << 30
_FAULTS = (OSError, ValueError, SyntaxError, EOFError, OverflowError, Image.DecompressionBombError)  # Pillow's own
_DISTORTION = 0.02  # of the proportions, which no eye sees


@dataclass(frozen=True)
class InputImage:
    """A picture from a file.

    Attributes:
        name: of the file, without folders.
        sha256: of the file's bytes, in hexadecimal digits.
        pixels: upright, RGB, or L for a mask.
    """

    name: str
    sha256: str
    pixels: Image.Image = field(repr=False, compare=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.size

    def settings(self) -> dict[str, str]:
        """What identifies it."""
        return {"file": self.name, "sha256": self.sha256}

    def resized(self, width: int, height: int) -> Image.Image:
        """The pixels at this size; unchanged where it is theirs. A mask stays sharp."""
        if self.pixels.size == (width, height):
            return self.pixels
        method = Image.Resampling.NEAREST if self.pixels.mode == "L" else Image.Resampling.LANCZOS
        return self.pixels.resize((width, height), method)


def read_image(path: Path, *, mask: bool = False) -> InputImage:
    """The picture in the file: of several frames the first, turned as its camera was held, over white if transparent.

    Args:
        path: of a PNG, JPEG, WebP or whatever else Pillow reads.
        mask: in shades of grey.

    Raises:
        ImageFileError: there is no picture that can be read.
    """
    try:
        if path.stat().st_size > _LARGEST_NBYTES:
            raise ImageFileError(str(path), "it is larger than 1 GiB.", "Give a picture of a size that can be drawn.")
        if not path.is_file():
            raise ImageFileError(str(path), "it is a directory, not a picture." if path.is_dir() else "it is no file.")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ImageFileError(str(path), "there is no such file.", "Check the path.") from error
    except (OSError, ValueError) as error:
        raise ImageFileError(str(path), f"it can't be read ({error}).") from error
    try:
        with Image.open(io.BytesIO(content)) as opened:
            if opened.width * opened.height > _LARGEST_PIXELS:
                raise ImageFileError(str(path), f"it has {opened.width} x {opened.height} pixels, too many to work on.")
            pixels = _in_colours(ImageOps.exif_transpose(opened), "L" if mask else "RGB")
    except UnidentifiedImageError as error:
        raise ImageFileError(str(path), "it is no picture that can be read.", "PNG, JPEG and WebP can.") from error
    except _FAULTS as error:
        raise ImageFileError(str(path), f"the picture is damaged or cut short ({error}).") from error
    return InputImage(path.name, hashlib.sha256(content).hexdigest(), pixels)


def same_proportions(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether a picture of one size is stretched by no more than the eye forgives when it is resized to the other."""
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= _DISTORTION + 8 / min(*one, *other)


def require_fitting_mask(image: InputImage, mask: InputImage) -> None:
    """Returns only if the mask may be of this picture: one of other proportions was made for another.

    Raises:
        SettingError: it wasn't made for it.
    """
    if not same_proportions(image.size, mask.size):
        of, has = (f"{size[0]} x {size[1]}" for size in (image.size, mask.size))
        raise SettingError(
            f"The mask {mask.name} has {has} pixels, the picture {image.name} has {of}: it is of another shape.",
            "Make a mask of the picture's size: white where it shall be drawn anew.",
        )


def fitted_size(of: tuple[int, int], width: int | None, height: int | None, like: tuple[int, int]) -> tuple[int, int]:
    """The size at which a picture is drawn anew: its proportions, and about as many pixels as the model draws.

    Args:
        of: width and height of the picture that is there.
        width: that the user wants, or None.
        height: that the user wants, or None.
        like: the model's own width and height.

    Returns multiples of 8 pixels.
    """
    if width is not None and height is not None:
        return width, height
    if width is not None:
        return width, _multiple(width * of[1] / of[0])
    if height is not None:
        return _multiple(height * of[0] / of[1]), height
    scale = float(like[0] * like[1] / (of[0] * of[1])) ** 0.5
    return _multiple(of[0] * scale), _multiple(of[1] * scale)


def _multiple(pixels: float) -> int:
    return max(8, round(pixels / 8) * 8)


def _in_colours(image: Image.Image, mode: str) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits a channel; a plain conversion would clip them
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    return image.convert(mode)
