"""The latent space of an autoencoder, for a run's page: its samples by class, what its decoder makes of a grid and of
random codes, and which samples have similar codes.

A code is an output float[n] from which alone another output is computed that a loss compares with an input.
"""

from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from netc.compiler.ir.types import describe_sample
from netc.runtime.data.stored import Array
from netc.runtime.inference.parts import inputs_of, part_of
from netc.runtime.insight.drawing.plots import Frame, legend, series
from netc.runtime.insight.drawing.scales import numbers_axis
from netc.runtime.insight.pictures import as_image, first_of, png, thinned, tiled
from netc.runtime.insight.sections import Cards, Heading, Note, Paragraph, Plot, Plots, Section, one_of_every
from netc.runtime.insight.words import shortened
from netc.runtime.linear_algebra import svd
from netc.runtime.predictions import Classes, classes_of
from netc.runtime.runs.run import Run
from netc.runtime.target_outputs import reconstructions

_MOST_SAMPLES = 4_000
_MOST_NUMBERS = 1 << 26  # of all inputs of these samples together
_GRID_SIDE = 12
_OUTSIDE = 0.02  # the share of the samples beyond each side of the grid
_RANDOM_CODES, _ASKED, _NEAREST = 24, 8, 9
_MOST_CLASSES = 20
_PIXELS = 40  # the width of a picture in a grid
_MOST_CODES = 4
_WIDTH = 520.0  # of a plot, in pixels
_LONGEST_CODE = 1_000  # numbers: a covariance has the square of that


class Code(Struct, frozen=True):
    """An output that is a code, the output `decoded` from it, and the input `like` which that output is."""

    name: str
    decoded: str
    like: str


def codes_of(run: Run) -> list[Code]:
    """The codes of a model, each with the first output that is decoded from it."""
    outputs, codes, like = run.model.outputs, [], reconstructions(run.model)
    for name, type_ in outputs.items():
        if not type_.is_float or len(type_.sample) != 1 or type_.is_varying or not _inputs_read(run, [], name):
            continue
        for decoded in outputs:
            if decoded in like and decoded != name and _inputs_read(run, [name], decoded) == {name}:
                codes.append(Code(name, decoded, like[decoded]))
                break
    return codes


def _inputs_read(run: Run, values: list[str], output: str) -> set[str]:
    """The fields that an output is computed from if these values are given; empty if a given value changes nothing."""
    try:
        return {*inputs_of(part_of(run.model, [*run.model.inputs, *values], [output]))}
    except ValueError:
        return set()


class _Plane(Struct, frozen=True):
    """The plane through `centre` [n], spanned by the rows of `axes` [2, n], onto which codes are projected."""

    centre: Array
    axes: Array
    description: str

    @classmethod
    def of(cls, codes: Array) -> "_Plane":
        """The plane of two numbers itself, or that of the first two principal components of codes [sample, n]."""
        if codes.shape[1] == 2:
            return cls(np.zeros(2), np.eye(2), "Its two numbers are the place of a sample.")
        centre = codes.mean(axis=0)
        _, sizes, axes = svd(codes - centre)
        share = (sizes[:2] ** 2).sum() / max((sizes**2).sum(), 1e-30)
        description = (
            f"The two directions in which codes differ most (principal components) hold {share:.0%} of their variance."
        )
        return cls(centre, axes[:2], description)

    def project(self, codes: Array) -> Array:
        """The coordinates [sample, 2] of codes [sample, n] in the plane."""
        coordinates: Array = (codes - self.centre) @ self.axes.T
        return coordinates

    def grid(self, codes: Array) -> Array:
        """The codes of a square grid over all but the outermost samples, row by row from the top left."""
        low, high = np.quantile(self.project(codes), (_OUTSIDE, 1 - _OUTSIDE), axis=0)
        across, up = (np.linspace(low[i], high[i], _GRID_SIDE) for i in (0, 1))
        coordinates = np.stack([np.tile(across, _GRID_SIDE), np.repeat(up[::-1], _GRID_SIDE)], axis=1)
        points: Array = self.centre + coordinates @ self.axes
        return points


def code_sections(run: Run, part: str) -> Iterator[Section]:
    """The sections of a page on the codes of the first samples of a part of the data."""
    all_codes = codes_of(run)
    codes = [code for code in all_codes if run.model.outputs[code.name].size(1) <= _LONGEST_CODE][:_MOST_CODES]
    if len(codes) < len(all_codes):
        yield Note(
            f"Codes are drawn if they have at most {_LONGEST_CODE:,} numbers, and the first {_MOST_CODES} of them."
        )
    if not codes:
        return
    fields = run.load_data().parts[part]
    size = sum(type_.size(1) for type_ in run.model.inputs.values() if not type_.is_varying)
    most = min(_MOST_SAMPLES, max(_MOST_NUMBERS // max(size, 1), _RANDOM_CODES))
    inputs = {name: first_of(fields[name], most) for name in run.model.inputs}
    predicted = run.program.predictor.predict(inputs, outputs=[code.name for code in codes])
    classes = classes_of(run, part, _MOST_CLASSES)
    for code in codes:
        values = np.asarray(predicted[code.name], np.float64)
        if len(values) < 3 or values.shape[1] < 2:
            continue
        plane = _Plane.of(values)
        type_ = describe_sample(run.model.outputs[code.name])
        yield Heading(f"{code.name}, {type_}: where the samples of {part} lie")
        yield Plots([_scatter(plane, values, classes)])
        yield Paragraph(plane.description)
        yield from _decoded(run, code, values, plane)
        images = None if run.model.inputs[code.like].is_varying else as_image(inputs[code.like])
        if images is not None:
            yield Heading(f"{code.like}: the nearest in {code.name}, {part}")
            yield from _neighbours(images, values)


def _scatter(plane: _Plane, codes: Array, classes: Classes | None) -> Plot:
    """The projected codes as dots, in the colours of their classes."""
    x, y = plane.project(codes).T
    labels = [shortened(label) for label in classes.labels] if classes is not None else []
    parts, top = legend([(series(i), label) for i, label in enumerate(labels)], _WIDTH)
    axes = numbers_axis(x.tolist(), False), numbers_axis(y.tolist(), False)
    frame = Frame(_WIDTH, 400 + top, *axes, "first", "second", top=top)
    numbers = classes.numbers[: len(codes)] if classes is not None else np.zeros(len(codes), int)
    for i in range(max(len(labels), 1)):
        points = zip(x[numbers == i].tolist(), y[numbers == i].tolist(), strict=True)
        parts.append(frame.cloud(series(i), points, str(i) if labels else ""))
    caption = f"Colours: {shortened(classes.field)}." if classes is not None else ""
    return Plot(frame.svg(parts, "codes of the samples"), caption)


def _decoded(run: Run, code: Code, values: Array, plane: _Plane) -> Iterator[Section]:
    """The images that the decoder makes of a grid of codes and of random ones; nothing if it makes no images."""
    if run.model.outputs[code.decoded].is_varying:
        return
    generator = np.random.default_rng(run.program.seed)
    random = generator.multivariate_normal(values.mean(axis=0), np.cov(values.T), _RANDOM_CODES)
    codes = np.concatenate([plane.grid(values), random]).astype(np.float32)
    decoded = run.program.predictor.predict({code.name: codes}, outputs=[code.decoded])[code.decoded]
    images = as_image(np.clip(decoded, 0, None))
    if images is None:
        return
    images, step = thinned(images, 2 * _PIXELS)
    grid, row_of_random = tiled(images[: _GRID_SIDE**2], _GRID_SIDE), tiled(images[_GRID_SIDE**2 :], _RANDOM_CODES // 2)
    width, most = _PIXELS * _GRID_SIDE, max(grid.shape[:2])
    yield Heading(f"{code.decoded}, decoded from a grid of {code.name}")
    yield Cards.of([png(grid, most=most)], width)
    yield Heading(f"{code.decoded}, decoded from codes drawn at random")
    yield Cards.of([png(row_of_random, most=most)], width)
    yield from one_of_every(step, "pixels, along each side,")
    yield Paragraph("Drawn from the normal distribution that has the mean and the covariance of the codes above.")


def _neighbours(images: Array, codes: Array) -> Iterator[Section]:
    """Rows of images with similar codes."""
    images, step = thinned(images, 2 * _PIXELS)
    rows = [tiled(images[row], len(row)) for row in nearest(codes)]
    yield Cards.of([png(row, most=max(row.shape[:2])) for row in rows], _PIXELS * _NEAREST)
    yield Paragraph("First in each row a sample, then those whose codes are nearest to its own.")
    yield from one_of_every(step, "pixels, along each side,")


def nearest(codes: Array) -> Array:
    """The indices [asked, nearest] of a few samples, each followed by those whose codes [sample, n] are nearest to its.

    Distances are Euclidean; the asked samples are spread evenly over all.
    """
    asked = np.linspace(0, len(codes) - 1, min(_ASKED, len(codes))).astype(int)
    distance = np.stack([np.square(codes - codes[sample]).sum(axis=-1) for sample in asked])
    distance[np.arange(len(asked)), asked] = -1
    return np.argsort(distance, axis=1, kind="stable")[:, :_NEAREST]
