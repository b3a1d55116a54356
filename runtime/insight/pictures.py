"""Arrays as pictures: samples of a field as images, arrays as PNG."""

import base64
import io
from typing import Any

import numpy as np

from netc.runtime.data.stored import Array, Bytes, Field, Ragged

MOST_PIXELS = 256  # of a picture in a page, along each side
_SMALLEST_IMAGE = 8  # pixels along each side
_RED_TO_BLUE = "67001f b2182b d6604d f4a582 fddbc7 f7f7f7 d1e5f0 92c5de 4393c3 2166ac 053061"  # RdBu of ColorBrewer
_BLUE_TO_RED = np.array([[*bytes.fromhex(colour)] for colour in _RED_TO_BLUE.split()[::-1]]) / 255


def first_of(field: Field, count: int = 1) -> Any:
    """The first samples of a field: an array, or a list of arrays for sequences."""
    if isinstance(field, Ragged):
        return [sequence for sequence, _ in zip(field, range(count), strict=False)]
    return np.asarray(Bytes(field.array[:count], field.scale) if isinstance(field, Bytes) else field[:count])


def thinned(images: Array, most: int = MOST_PIXELS, first: int = 1) -> tuple[Array, int]:
    """Images with at most `most` pixels along each side, and the step: one of every `step` pixels is kept.

    Height and width are the axes `first` and `first + 1`.
    """
    step = max(1, -(-max(images.shape[first : first + 2]) // most))
    return images[(*[slice(None)] * first, slice(None, None, step), slice(None, None, step))], step


def as_image(field: Any) -> Array | None:
    """The samples of a field as images [sample, height, width] or [sample, height, width, 3]; None if they are none.

    Images are at least 8 pixels high and wide and hold floats that are not negative. A row of n * n numbers is taken
    for a square image.
    """
    values = np.asarray(field)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    side = round(values.shape[1] ** 0.5) if values.ndim == 2 else 0
    if side >= _SMALLEST_IMAGE and side * side == values.shape[1]:
        values = values.reshape(len(values), side, side)
    has_shape = values.ndim == 3 or (values.ndim == 4 and values.shape[3] == 3)
    is_large = has_shape and min(values.shape[1:3]) >= _SMALLEST_IMAGE
    return values if is_large and values.dtype.kind == "f" and (values >= 0).all() else None


def png(values: Array, centred: bool = False, most: int = MOST_PIXELS) -> str:
    """The data URL of a picture with at most `most` pixels along each side, from black (least) to white (largest).

    Three channels are red, green and blue. With `centred`, 0 is white, numbers below it are blue and above it red.
    """
    from PIL import Image

    values = np.asarray(thinned(np.asarray(values), most, first=0)[0], np.float64)
    if values.ndim == 3 and values.shape[2] != 3:
        values = values[..., 0]
    largest = np.abs(values).max()
    low, high = (-largest, largest) if centred else (values.min(), values.max())
    shares = (values - low) / ((high - low) or 1.0)
    if centred and values.ndim == 2:
        positions = np.linspace(0, 1, len(_BLUE_TO_RED))
        shares = np.stack([np.interp(shares, positions, channel) for channel in _BLUE_TO_RED.T], axis=-1)
    buffer = io.BytesIO()
    Image.fromarray(np.round(255 * shares).astype(np.uint8)).save(buffer, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def tiled(images: Array, columns: int) -> Array:
    """Images [n, height, width, ...] as one, in rows of `columns`, with a dark line of one pixel between them."""
    count, height, width = images.shape[:3]
    rows = -(-count // columns)
    canvas = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1, *images.shape[3:]))
    for i, image in enumerate(images):
        y, x = i // columns * (height + 1), i % columns * (width + 1)
        canvas[y : y + height, x : x + width] = image
    return canvas
