"""What a code says, for a run's page: its samples by class, what its decoder makes of a grid and of chance, which samples lie beside each other.

A code is an output float[n] from which alone another output, of an input's shape, is computed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.compiler.ir.types import describe_sample
from netc.dsl.quoting import html_text, plot_text
from netc.runtime.answers import Classes, classes_of
from netc.runtime.data.stored import Array
from netc.runtime.parts import inputs_of, part_of
from netc.runtime.pictures import as_image, cards, drawn, first_of, left_out, one_of, png, thinned, tiled
from netc.runtime.run import Run

_MOST = 4_000  # samples that are looked at
_MOST_NUMBERS = 1 << 26  # of their inputs, together
_SIDE = 12  # of a grid
_BEYOND = 0.02  # of the samples lie outside of it, on either side
_DRAWN, _ASKED, _NEAREST = 24, 8, 9
_MOST_CLASSES = 20
_PIXELS = 40  # how wide a picture among others is
_MOST_CODES = 4
_LONGEST_CODE = 1_000  # numbers: a covariance has the square of that


@dataclass(frozen=True, slots=True)
class Code:
    """The output that is a code, the one that is decoded from it, and the input that this one is like."""

    name: str
    decoded: str
    like: str


def codes_of(run: Run) -> list[Code]:
    """The codes of a model, each with what is decoded from it first."""
    outputs, found = run.model.outputs, []
    for name, type_ in outputs.items():
        if not type_.is_float or len(type_.sample) != 1 or type_.is_varying or not _reads(run, [], name):
            continue
        for decoded, other in outputs.items():
            like = next((one for one, given in run.model.inputs.items() if given.sample == other.sample), None)
            if like is not None and decoded != name and _reads(run, [name], decoded) == {name}:
                found.append(Code(name, decoded, like))
                break
    return found


def _reads(run: Run, given: list[str], output: str) -> set[str]:
    """The fields that an output is computed from where these values are given; none where they do not matter to it."""
    try:
        return {*inputs_of(part_of(run.model, [*run.model.inputs, *given], [output]))}
    except ValueError:
        return set()


@dataclass(frozen=True, slots=True)
class _Plane:
    """Two directions through the mean of the codes [sample, n], rows of `axes`, along which they are looked at, and how they are spread there."""

    centre: Array
    axes: Array
    told: str

    @classmethod
    def of(cls, codes: Array) -> "_Plane":
        if codes.shape[1] == 2:
            return cls(np.zeros(2), np.eye(2), "Its two numbers are the place of a sample")
        centre = codes.mean(axis=0)
        _, sizes, axes = np.linalg.svd(codes - centre, full_matrices=False)
        share = (sizes[:2] ** 2).sum() / max((sizes**2).sum(), 1e-30)
        told = (
            f"The two directions in which codes differ most (principal components) hold {share:.0%} of their variance"
        )
        return cls(centre, axes[:2], told)

    def seen(self, codes: Array) -> Array:
        seen: Array = (codes - self.centre) @ self.axes.T
        return seen

    def grid(self, codes: Array) -> Array:
        """Codes of a square grid, row by row from the top left, that takes in all but the outermost."""
        low, high = np.quantile(self.seen(codes), (_BEYOND, 1 - _BEYOND), axis=0)
        across, up = (np.linspace(low[i], high[i], _SIDE) for i in (0, 1))
        places = np.stack([np.tile(across, _SIDE), np.repeat(up[::-1], _SIDE)], axis=1)
        found: Array = self.centre + places @ self.axes
        return found


def pictures_of_codes(run: Run, part: str) -> Iterator[str]:
    """Sections of a page, of the samples of a part of the data."""
    every_code = codes_of(run)
    found = [one for one in every_code if run.model.outputs[one.name].size(1) <= _LONGEST_CODE][:_MOST_CODES]
    if len(found) < len(every_code):
        yield left_out(
            f"Codes are drawn if they have at most {_LONGEST_CODE:,} numbers, and the first {_MOST_CODES} of them."
        )
    if not found:
        return
    fields = run.load_data().parts[part]
    size = sum(type_.size(1) for type_ in run.model.inputs.values() if not type_.is_varying)
    most = min(_MOST, max(_MOST_NUMBERS // max(size, 1), _DRAWN))
    shown = {name: first_of(fields[name], most) for name in run.model.inputs}
    made = run.program.predict(shown, outputs=[code.name for code in found])
    classes = classes_of(run, part, _MOST_CLASSES)
    for code in found:
        values = np.asarray(made[code.name], np.float64)
        if len(values) < 3 or values.shape[1] < 2:
            continue
        name, plane = html_text(code.name), _Plane.of(values)
        type_ = html_text(describe_sample(run.model.outputs[code.name]))
        yield f'<h2>{name}, {type_}: where the samples of {part} lie</h2><div class="wide">{_scatter(plane, values, classes)}</div>'
        yield f"<p>{plane.told}.</p>"
        yield from _from_codes(run, code, values, plane)
        images = None if run.model.inputs[code.like].is_varying else as_image(shown[code.like])
        if images is not None:
            images, every = thinned(images, 2 * _PIXELS)
            rows = [tiled(images[row], len(row)) for row in nearest(values)]
            yield f"<h2>{html_text(code.like)}: the nearest in {name}, {part}</h2>{cards([png(one, most=max(one.shape[:2])) for one in rows], _PIXELS * _NEAREST)}"
            yield "<p>First in each row a sample, then those whose codes are nearest to its own.</p>"
            yield one_of(every, "pixels, along each side,")


def _scatter(plane: _Plane, codes: Array, classes: Classes | None) -> str:
    from matplotlib.figure import Figure

    picture = Figure(figsize=(6, 5), layout="constrained")
    axes, (x, y) = picture.add_subplot(), plane.seen(codes).T
    style: dict[str, Any] = {"s": 9, "alpha": 0.6, "linewidths": 0, "rasterized": len(codes) > 1000}
    if classes is None:
        axes.scatter(x, y, **style)
    for i, label in enumerate(classes.labels if classes is not None else ()):
        assert classes is not None
        own = classes.numbers[: len(codes)] == i
        axes.scatter(x[own], y[own], label=plot_text(label), color=_colour(i, len(classes.labels)), **style)
    if classes is not None:
        axes.legend(
            title=plot_text(classes.field), loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2.5, frameon=False
        )
    axes.set(xlabel="first", ylabel="second")
    return drawn(picture, "40rem")


def _colour(i: int, count: int) -> tuple[float, ...]:
    from matplotlib import colormaps

    found: tuple[float, ...] = colormaps["tab10" if count <= 10 else "tab20"](i)
    return found


def _from_codes(run: Run, code: Code, values: Array, plane: _Plane) -> Iterator[str]:
    """What the decoder makes of a grid, and of codes drawn at random, where that are pictures."""
    if run.model.outputs[code.decoded].is_varying:
        return
    chance = np.random.default_rng(run.program.seed)
    random = chance.multivariate_normal(values.mean(axis=0), np.cov(values.T), _DRAWN)
    given = np.concatenate([plane.grid(values), random]).astype(np.float32)
    images = as_image(np.clip(run.program.predict({code.name: given}, outputs=[code.decoded])[code.decoded], 0, None))
    if images is None:
        return
    images, every = thinned(images, 2 * _PIXELS)
    whole, few = tiled(images[: _SIDE**2], _SIDE), tiled(images[_SIDE**2 :], _DRAWN // 2)
    width, most = _PIXELS * _SIDE, max(whole.shape[:2])
    yield f"<h2>{html_text(code.decoded)}, decoded from a grid of {html_text(code.name)}</h2>{cards([png(whole, most=most)], width)}"
    yield f"<h2>{html_text(code.decoded)}, decoded from codes drawn at random</h2>{cards([png(few, most=most)], width)}"
    yield one_of(every, "pixels, along each side,")
    yield "<p>Drawn from the normal distribution that has the mean and the covariance of the codes above.</p>"


def nearest(codes: Array) -> Array:
    """Rows of a few samples [asked, nearest]: itself, then those whose codes have the least Euclidean distance to its own."""
    asked = np.linspace(0, len(codes) - 1, min(_ASKED, len(codes))).astype(int)
    distance = np.stack([np.square(codes - codes[one]).sum(axis=-1) for one in asked])
    distance[np.arange(len(asked)), asked] = -1
    return np.argsort(distance, axis=1, kind="stable")[:, :_NEAREST]
