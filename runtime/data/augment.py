"""`train_only(...)`: what is done to the images of the training part anew in every epoch. AUGMENTATIONS is the table.

What a sample gets depends on (seed, epoch, field, its place in the part) alone: the same bits on any number of threads, and after any interruption.
Images are [sample, h, w] or [sample, h, w, c]; what comes from outside of them is 0.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.runtime.data.store import allocate
from netc.runtime.data.stored import Array, Bytes, Field, Ragged
from netc.runtime.random import generator

Spec = tuple[str, tuple[Any, ...]]  # a name of AUGMENTATIONS and its arguments
_CHUNK = 2048  # samples at a time


@dataclass(frozen=True, slots=True)
class Augmentation:
    """`draw(rng, count, arguments)` gives numbers for each sample, `apply(images, numbers, arguments)` uses those of some samples.

    `check(arguments)` says what it takes instead, or nothing; `words` may stand for an argument.
    """

    draw: Callable[[np.random.Generator, int, Sequence[Any]], Array]
    apply: Callable[[Array, Array, Sequence[Any]], Array]
    check: Callable[[Sequence[Any]], str | None]
    doc: str
    words: tuple[str, ...] = ()
    needs_floats: bool = False


def _flip(images: Array, turned: Array, arguments: Sequence[Any]) -> Array:
    axis = 2 if arguments[0] == "horizontal" else 1
    return np.where(turned.reshape(-1, *(1,) * (images.ndim - 1)), np.flip(images, axis), images)


def _at(images: Array, rows: Array, columns: Array) -> Array:
    """images[n, rows[n, i], columns[n, j]]; 0 where that is outside."""
    h, w = images.shape[1:3]
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
    number = np.arange(len(images))[:, None, None]
    taken: Array = images[number, np.clip(rows, 0, h - 1)[:, :, None], np.clip(columns, 0, w - 1)[:, None, :]]
    taken *= inside.reshape(*inside.shape, *(1,) * (images.ndim - 3)).astype(images.dtype)
    return taken


def _shift(images: Array, by: Array, arguments: Sequence[Any]) -> Array:
    h, w = images.shape[1:3]
    return _at(images, np.arange(h) - by[:, :1], np.arange(w) - by[:, 1:])


def _crop(images: Array, corner: Array, arguments: Sequence[Any]) -> Array:
    """A window that is `n` rows and columns smaller, made as large as the image (the nearest pixel)."""
    h, w = images.shape[1:3]
    less = arguments[0]
    rows = corner[:, :1] + (np.arange(h) * (h - less)) // h
    columns = corner[:, 1:] + (np.arange(w) * (w - less)) // w
    return _at(images, rows, columns)


def _rotate(images: Array, angle: Array, arguments: Sequence[Any]) -> Array:
    """By so many degrees round the middle, each pixel a mean of the four that it falls between."""
    h, w = images.shape[1:3]
    y, x = np.meshgrid(np.arange(h) - (h - 1) / 2, np.arange(w) - (w - 1) / 2, indexing="ij")
    c, s = (f(np.deg2rad(angle)).reshape(-1, 1, 1) for f in (np.cos, np.sin))
    row, column = c * y + s * x + (h - 1) / 2, c * x - s * y + (w - 1) / 2
    total = np.zeros(images.shape, np.float32)
    number = np.arange(len(images))[:, None, None]
    for i in (0, 1):
        for j in (0, 1):
            r, q = np.floor(row).astype(int) + i, np.floor(column).astype(int) + j
            weight = (1 - np.abs(row - r)) * (1 - np.abs(column - q)) * ((r >= 0) & (r < h) & (q >= 0) & (q < w))
            taken = images[number, np.clip(r, 0, h - 1), np.clip(q, 0, w - 1)]
            total += taken * weight.reshape(*weight.shape, *(1,) * (images.ndim - 3)).astype(np.float32)
    return (np.rint(total) if images.dtype == np.uint8 else total).astype(images.dtype)


def _is_whole(arguments: Sequence[Any]) -> str | None:
    is_right = len(arguments) == 1 and isinstance(arguments[0], int) and arguments[0] >= 1
    return None if is_right else "a whole number of pixels, at least 1"


def _is_number(arguments: Sequence[Any]) -> str | None:
    is_right = len(arguments) == 1 and isinstance(arguments[0], int | float) and arguments[0] > 0
    return None if is_right else "a number above 0"


AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": Augmentation(
        lambda rng, count, arguments: rng.random(count) < 0.5,
        _flip,
        lambda arguments: None if arguments in (["horizontal"], ["vertical"]) else "horizontal or vertical",
        "Every second image, by chance, is turned round: flip(horizontal).",
        words=("horizontal", "vertical"),
    ),
    "shift": Augmentation(
        lambda rng, count, arguments: rng.integers(-arguments[0], arguments[0] + 1, (count, 2)),
        _shift,
        _is_whole,
        "Moved by up to n pixels along both axes: shift(2).",
    ),
    "crop": Augmentation(
        lambda rng, count, arguments: rng.integers(0, arguments[0] + 1, (count, 2)),
        _crop,
        _is_whole,
        "A window that is n pixels smaller, made as large as the image again: crop(4).",
    ),
    "rotate": Augmentation(
        lambda rng, count, arguments: rng.uniform(-arguments[0], arguments[0], count),
        _rotate,
        _is_number,
        "Turned by up to so many degrees: rotate(10).",
    ),
    "noise": Augmentation(
        lambda rng, count, arguments: rng.integers(0, 2**62, count),
        lambda images, seeds, arguments: (
            images + np.stack([_normal(seed, images.shape[1:]) for seed in seeds]) * np.float32(arguments[0])
        ),
        _is_number,
        "Normal numbers of a standard deviation are added: noise(0.1).",
        needs_floats=True,
    ),
}


def _normal(seed: int, shape: tuple[int, ...]) -> Array:
    return generator(int(seed), "noise").standard_normal(shape, np.float32)


def augmented(field: Field, specs: Sequence[Spec], name: str, seed: int, epoch: int) -> Field:
    """The field as an epoch sees it. Bytes stay bytes unless numbers are added to them."""
    if any(AUGMENTATIONS[kind].needs_floats for kind, _ in specs) and isinstance(field, Bytes):
        field = np.asarray(field)
    assert not isinstance(field, Ragged), "images have no varying dimension"
    array = field.array if isinstance(field, Bytes) else field
    rng = generator(seed, "augment", name, epoch)
    drawn = [AUGMENTATIONS[kind].draw(rng, len(array), arguments) for kind, arguments in specs]
    result = allocate(array.shape, array.dtype)
    for rows in _chunks(len(array)):
        part = np.asarray(array[rows])
        for (kind, arguments), numbers in zip(specs, drawn, strict=True):
            part = AUGMENTATIONS[kind].apply(part, numbers[rows], arguments)
        result[rows] = part
    return Bytes(result, field.scale) if isinstance(field, Bytes) else result


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        yield slice(start, start + _CHUNK)
