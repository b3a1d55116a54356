"""Decodes one picture to bytes [h, w, c]: turned as its EXIF data says, 8 bits a channel, without transparency.

FORMATS lists the only decoders of Pillow that may run. Knows nothing of folders, tables and messages.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from netc.dsl.storage.files import opened, reason
from netc.runtime.available import require
from netc.runtime.data.stored import Array

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# Pillow knows others, some of which start programs of the system (PostScript: Ghostscript)
FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
VERSION = 2  # of this file: the cache of decoded pictures has it in its keys
MOST_PIXELS = 100_000_000  # of a picture, by default: a file of some kilobytes may unpack to many more
WHITE = (255, 255, 255)
_PIXEL = 8  # bytes of a pixel while it is decoded and converted
_GREY = ("1", "L", "LA", "La")  # modes of Pillow
_ORIENTATION = 0x112  # the EXIF tag that says how the camera was turned


class TooManyPixels(Exception):
    """A picture has more `pixels` than the limit."""

    def __init__(self, pixels: int, limit: int) -> None:
        super().__init__(f"it has more than {limit:,} pixels, the limit")
        self.pixels = pixels


class Settings(Struct, frozen=True):
    """The settings of a picture decoder.

    `size` is the height and width that they are scaled to; without it they keep theirs. `channels` is 1 (grey) or 3
    (red, green, blue); without it grey pictures have 1 and others 3. `ground` is the colour behind transparent pixels.
    A picture with more than `most_pixels` is not decoded.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    ground: tuple[int, int, int] = WHITE
    most_pixels: int = MOST_PIXELS


@contextmanager
def decoding_pictures() -> Iterator[None]:
    """Within this context Pillow does not warn of damaged EXIF data, and has no limit of pixels: `pixels` has one."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def decoder_version() -> str:
    """The versions of all that decides what the pixels of a picture are."""
    import PIL

    return f"{VERSION} {PIL.__version__}"


def why(error: Exception) -> str:
    """The reason why a picture cannot be decoded. (Pillow's message for an unknown format names its stream.)"""
    if type(error).__name__ == "UnidentifiedImageError":
        return f"it is not a picture in one of the formats {', '.join(FORMATS)}"
    return reason(error) if str(error) else "its data is damaged"


def pixels(file: Path, settings: Settings) -> Array:
    """The pixels [h, w, c] of a picture, of an animation or a file with several pictures those of the first.

    Within `decoding_pictures`. Raises TooManyPixels, NotEnough if it does not fit in memory, and any exception that a
    decoder of Pillow raises for a broken picture.
    """
    from PIL import Image

    with opened(file) as stream, Image.open(stream, formats=[*FORMATS]) as picture:
        if picture.width * picture.height > settings.most_pixels:
            raise TooManyPixels(picture.width * picture.height, settings.most_pixels)
        for height, width in ((picture.height, picture.width), settings.size or (0, 0)):
            require(_PIXEL * width * height, f"`{file}`, {width} x {height} pixels,")
        picture.load()
        turned = _turned(_opaque(_eight_bits(picture), settings), _orientation(picture))
    if settings.size is not None:
        turned = turned.resize((settings.size[1], settings.size[0]), Image.Resampling.BILINEAR)
    return np.asarray(turned, np.uint8).reshape(turned.height, turned.width, len(turned.getbands()))


def _eight_bits(picture: "Picture") -> "Picture":
    """A picture with 8 bits in each channel. Raises ValueError for numbers that have no agreed range.

    Of 16 bits the upper ones are taken, as Pillow does for colours of 16 bits.
    """
    from PIL import Image

    if picture.mode in ("I", "F"):
        raise ValueError("its pixels are numbers of 32 bits, which have no agreed white; save it with 8 or 16 bits")
    if not picture.mode.startswith("I;16"):
        return picture
    values = np.asarray(picture)
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _opaque(picture: "Picture", settings: Settings) -> "Picture":
    """A picture of the mode L or RGB, over the ground where it is transparent."""
    from PIL import Image

    is_grey, has_palette = picture.mode in _GREY, picture.mode in ("P", "PA")
    if picture.has_transparency_data:
        ground = Image.new("RGBA", picture.size, (*settings.ground, 255))
        picture = Image.alpha_composite(ground, picture.convert("RGBA"))
        is_grey = is_grey and len(set(settings.ground)) == 1
    if has_palette:
        picture = picture.convert("RGB")
        is_grey = _has_greys_alone(np.asarray(picture))
    channels = settings.channels or (1 if is_grey else 3)
    return picture.convert("L" if channels == 1 else "RGB")


def _has_greys_alone(colours: Array) -> bool:
    """Whether red, green and blue are equal in all pixels [h, w, 3]."""
    return bool((colours[..., :1] == colours[..., 1:]).all())


def _orientation(picture: "Picture") -> int:
    """The EXIF orientation, 1 to 8; 1 if the picture has none, or if its EXIF data cannot be read."""
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # damaged EXIF data raises many kinds of exceptions; the pixels are good
        return 1


def _turned(picture: "Picture", orientation: int) -> "Picture":
    """The picture upright, where `orientation` says how it is stored."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return picture.transpose(turns[orientation]) if orientation in turns else picture
