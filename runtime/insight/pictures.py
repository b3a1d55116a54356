"""What a page is made of: arrays as pictures, pictures side by side, figures as SVG."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from netc.dsl.quoting import html_text
from netc.runtime.data.stored import Array, Bytes, Field, Ragged


def first_of(field: Field, count: int = 1) -> Any:
    """The first samples of a field: an array, or of sequences a list of them."""
    if isinstance(field, Ragged):
        return [one for one, _ in zip(field, range(count), strict=False)]
    return np.asarray(Bytes(field.array[:count], field.scale) if isinstance(field, Bytes) else field[:count])


MOST_PIXELS = 256  # of a picture in a page, along each side


def thinned(images: Array, most: int = MOST_PIXELS, first: int = 1) -> tuple[Array, int]:
    """Pictures whose height and width are the axes from `first` on, with so many pixels at most along each: one of `step`, which is returned too."""
    step = max(1, -(-max(images.shape[first : first + 2]) // most))
    return images[(*[slice(None)] * first, slice(None, None, step), slice(None, None, step))], step


def left_out(told: str) -> str:
    """A sentence of a page on what it does not show."""
    return f'<p class="left">{html_text(told)}</p>'


def one_of(step: int, what: str) -> str:
    """That one of every `step` is shown; nothing where all are."""
    return left_out(f"One of every {step:,} {what} is shown.") if step > 1 else ""


def as_image(field: Any) -> Array | None:
    """A field's samples as pictures [sample, height, width] or [sample, height, width, 3], if they look like that: 8 pixels square at least, no number
    below 0."""
    values = np.asarray(field)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    side = round(values.shape[1] ** 0.5) if values.ndim == 2 else 0
    if side >= 8 and side * side == values.shape[1]:
        values = values.reshape(len(values), side, side)
    is_shaped = values.ndim == 3 or (values.ndim == 4 and values.shape[3] == 3)
    is_picture = is_shaped and min(values.shape[1:3]) >= 8 and values.dtype.kind == "f" and (values >= 0).all()
    return values if is_picture else None


def png(values: Array, centred: bool = False, most: int = MOST_PIXELS) -> str:
    """A grey picture, thinned to `most` pixels; `centred`, 0 is white, blue below and red above; three channels are colours."""
    from matplotlib.image import imsave

    buffer, values = io.BytesIO(), np.asarray(thinned(np.asarray(values), most, first=0)[0], np.float64)
    if values.ndim == 3 and values.shape[2] == 3:
        span = values.max() - values.min() or 1.0
        imsave(buffer, (values - values.min()) / span, format="png")
    else:
        values = values[..., 0] if values.ndim == 3 else values
        largest = np.abs(values).max() or 1.0
        low, high = (-largest, largest) if centred else (values.min(), values.max())
        imsave(buffer, values, vmin=low, vmax=high, cmap="RdBu_r" if centred else "gray", format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def tiled(images: Array, columns: int) -> Array:
    """Pictures [n, h, w, ...] in rows of so many, a dark line between them."""
    count, height, width = images.shape[:3]
    rows = -(-count // columns)
    whole = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1, *images.shape[3:]))
    for i, image in enumerate(images):
        y, x = i // columns * (height + 1), i % columns * (width + 1)
        whole[y : y + height, x : x + width] = image
    return whole


def cards(pictures: Sequence[str], width: int | None = None, captions: Sequence[str] = ()) -> str:
    """Pictures (of `png`) side by side, so many pixels wide, a caption under each."""
    style = f' style="width: {width}px; height: auto"' if width is not None else ""
    told = [f"<br>{html_text(caption)}" for caption in captions] or [""] * len(pictures)
    shown = (
        f'<figure><img alt="" src="{one}"{style}>{text}</figure>' for one, text in zip(pictures, told, strict=True)
    )
    return f'<div class="cards">{"".join(shown)}</div>'


def svg_of(text: str) -> str:
    """An SVG file as part of a page."""
    return text[text.index("<svg") :]


def drawn(figure: Any, width: str) -> str:
    """A figure of matplotlib as part of a page, at most so wide."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return svg_of(buffer.getvalue().decode()).replace("<svg ", f'<svg style="max-width: {width}" ', 1)
