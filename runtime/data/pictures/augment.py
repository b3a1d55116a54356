"""`train_only(...)`: random changes to the images of the training part, drawn anew in every epoch.

AUGMENTATIONS is the table.

What is drawn for a sample depends on (seed, epoch, field, its place in the part) alone: the bits are the same on any
number of threads, and after any interruption. Images are [sample, h, w] or [sample, h, w, c]; pixels that come from
outside of them are 0.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.ir.types import Type, describe_sample
from netc.dsl.diagnostics import Label, fault
from netc.dsl.source import NOWHERE, Span
from netc.runtime.data.block.declarations import FieldSpec
from netc.runtime.data.steps.data_step import are_integers
from netc.runtime.data.steps.state_checks import is_number
from netc.runtime.data.stored import Array, Bytes, Field, Ragged
from netc.runtime.data.tables.store import allocate
from netc.runtime.random import generator

_CHUNK = 2048  # samples at a time
_CIRCLE = 360  # degrees
_LARGEST = float(np.finfo(np.float32).max)


class AugmentationSpec(Struct, frozen=True):
    """A name of AUGMENTATIONS and its arguments, as the `.net` file has them at `span`."""

    name: str
    arguments: tuple[Any, ...]
    span: Span = NOWHERE


class Augmentation(Struct, frozen=True):
    """`draw(rng, count, arguments)` draws numbers for each sample, `apply(images, numbers, arguments)` changes some
    samples by theirs.

    `check(arguments)` returns what the augmentation takes, or None if the arguments are right; `words` may stand for an
    argument.
    With `excess`, the argument is a number of pixels: less than an image has, or else `excess` says what happens to it.
    """

    draw: Callable[[np.random.Generator, int, Sequence[Any]], Array]
    apply: Callable[[Array, Array, Sequence[Any]], Array]
    check: Callable[[Sequence[Any]], str | None]
    doc: str
    words: tuple[str, ...] = ()
    needs_floats: bool = False
    excess: str = ""


def _flip(images: Array, is_flipped: Array, arguments: Sequence[Any]) -> Array:
    axis = 2 if arguments[0] == "horizontal" else 1
    return np.where(is_flipped.reshape(-1, *(1,) * (images.ndim - 1)), np.flip(images, axis), images)


def _pixels_at(images: Array, rows: Array, columns: Array) -> Array:
    """images[n, rows[n, i], columns[n, j]]; 0 where that is outside of the image."""
    h, w = images.shape[1:3]
    is_inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
    number = np.arange(len(images))[:, None, None]
    pixels: Array = images[number, np.clip(rows, 0, h - 1)[:, :, None], np.clip(columns, 0, w - 1)[:, None, :]]
    pixels *= is_inside.reshape(*is_inside.shape, *(1,) * (images.ndim - 3)).astype(images.dtype)
    return pixels


def _shift(images: Array, by: Array, arguments: Sequence[Any]) -> Array:
    h, w = images.shape[1:3]
    return _pixels_at(images, np.arange(h) - by[:, :1], np.arange(w) - by[:, 1:])


def _crop(images: Array, corner: Array, arguments: Sequence[Any]) -> Array:
    """A window that is `n` rows and columns smaller, enlarged to the image's size by the nearest pixel."""
    h, w = images.shape[1:3]
    margin = arguments[0]
    rows = corner[:, :1] + (np.arange(h) * (h - margin)) // h
    columns = corner[:, 1:] + (np.arange(w) * (w - margin)) // w
    return _pixels_at(images, rows, columns)


def _rotate(images: Array, angle: Array, arguments: Sequence[Any]) -> Array:
    """Rotates by an angle in degrees about the centre, with bilinear interpolation."""
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
            pixels = images[number, np.clip(r, 0, h - 1), np.clip(q, 0, w - 1)]
            total += pixels * weight.reshape(*weight.shape, *(1,) * (images.ndim - 3)).astype(np.float32)
    return (np.rint(total) if images.dtype == np.uint8 else total).astype(images.dtype)


def _noise(images: Array, seeds: Array, arguments: Sequence[Any]) -> Array:
    normal = [generator(int(seed), "noise").standard_normal(images.shape[1:], np.float32) for seed in seeds]
    noisy: Array = images + np.stack(normal) * np.float32(arguments[0])
    return noisy


def _check_pixels(arguments: Sequence[Any]) -> str | None:
    is_right = len(arguments) == 1 and are_integers(arguments)
    return None if is_right else "a whole number of pixels, at least 1"


def _check_degrees(arguments: Sequence[Any]) -> str | None:
    is_right = len(arguments) == 1 and is_number(arguments[0]) and 0 < arguments[0] <= _CIRCLE
    return None if is_right else f"a number of degrees above 0, at most {_CIRCLE}"


def _check_deviation(arguments: Sequence[Any]) -> str | None:
    is_right = len(arguments) == 1 and is_number(arguments[0]) and 0 < arguments[0] <= _LARGEST
    return None if is_right else "a number above 0 that a float32 can hold"


AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": Augmentation(
        lambda rng, count, arguments: rng.random(count) < 0.5,
        _flip,
        lambda arguments: None if arguments in (["horizontal"], ["vertical"]) else "horizontal or vertical",
        "Mirrors an image with a probability of 1/2: flip(horizontal).",
        words=("horizontal", "vertical"),
    ),
    "shift": Augmentation(
        lambda rng, count, arguments: rng.integers(-arguments[0], arguments[0] + 1, (count, 2)),
        _shift,
        _check_pixels,
        "Moves an image by up to n pixels along both axes, n less than its height and width: shift(2).",
        excess="can move the whole image out of view",
    ),
    "crop": Augmentation(
        lambda rng, count, arguments: rng.integers(0, arguments[0] + 1, (count, 2)),
        _crop,
        _check_pixels,
        "Cuts out a window that has n rows and n columns less than the image, and enlarges it to the image's size: "
        "crop(4).",
        excess="leaves nothing of the image",
    ),
    "rotate": Augmentation(
        lambda rng, count, arguments: rng.uniform(-arguments[0], arguments[0], count),
        _rotate,
        _check_degrees,
        "Rotates an image by up to n degrees: rotate(10).",
    ),
    "noise": Augmentation(
        lambda rng, count, arguments: rng.integers(0, 2**62, count),
        _noise,
        _check_deviation,
        "Adds normal noise of a standard deviation: noise(0.1).",
        needs_floats=True,
    ),
}


def augmentations_of(field: FieldSpec, type_: Type, declared: Span) -> tuple[AugmentationSpec, ...]:
    """The augmentations that a field's steps `train_only` name, in their order; the model declares `type_`.

    Raises E0804 if the samples are not images, or have fewer pixels than an augmentation takes away.
    """
    specs: list[AugmentationSpec] = []
    for step in field.steps:
        if step.name != "train_only":
            continue
        if type_.is_varying or len(type_.sample) not in (2, 3):
            note = f"`{field.name}` is {describe_sample(type_)}"
            fault("E0804", "`train_only` takes images, float[h, w] or float[h, w, c]", step.span, note)
        for spec in step.arguments:
            _refuse_excess(spec, field.name, type_, declared)
            specs.append(spec)
    return tuple(specs)


def _refuse_excess(spec: AugmentationSpec, name: str, type_: Type, declared: Span) -> None:
    """Raises E0804 if an augmentation of the field `name` takes as many pixels as its images have rows or columns."""
    excess, most = AUGMENTATIONS[spec.name].excess, min(type_.shape(1)[1:3]) - 1
    if excess and spec.arguments[0] > most:
        fact, note = f"`{spec.name}({spec.arguments[0]})` {excess}", f"`{name}` is {describe_sample(type_)}"
        hint = f"at most {spec.name}({most})" if most else None
        fault("E0804", fact, spec.span, note, hint=hint, others=[Label(declared, "declared here")])


def augmented(field: Field, specs: Sequence[AugmentationSpec], name: str, seed: int, epoch: int) -> Field:
    """The images of the field `name` with the augmentations of an epoch, in the order of `specs`.

    Bytes stay bytes unless noise is added.
    """
    if any(AUGMENTATIONS[spec.name].needs_floats for spec in specs) and isinstance(field, Bytes):
        field = np.asarray(field)
    assert not isinstance(field, Ragged), "images have no varying dimension"
    array = field.array if isinstance(field, Bytes) else field
    rng = generator(seed, "augment", name, epoch)
    numbers = [AUGMENTATIONS[spec.name].draw(rng, len(array), spec.arguments) for spec in specs]
    result = allocate(array.shape, array.dtype)
    for rows in _chunks(len(array)):
        images = np.asarray(array[rows])
        for spec, drawn in zip(specs, numbers, strict=True):
            images = AUGMENTATIONS[spec.name].apply(images, drawn[rows], spec.arguments)
        result[rows] = images
    return Bytes(result, field.scale) if isinstance(field, Bytes) else result


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        yield slice(start, start + _CHUNK)
