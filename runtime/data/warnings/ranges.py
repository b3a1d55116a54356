"""Warnings about numbers of the training part that do not suit the model: raw pixels, and targets out of reach.

Takes a model, its data block and the arrays that training reads.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from netc.compiler.elaborate.advice.comparisons import SYMMETRIC, source_of
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.model import Comparison, Model
from netc.compiler.operations.convolution import conv2d
from netc.compiler.operations.functions import sigmoid, tanh
from netc.compiler.operations.reduce import softmax
from netc.compiler.operations.shape import Order, pad
from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.hints import At, Hint
from netc.runtime.data import windows
from netc.runtime.data.block.declarations import DataSpec
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.data.stored import Array, Bytes, Field, Ragged

_ROWS = 1 << 14  # the samples that are looked at
_PIXELS, _LEAST, _MOST = 16, 17, 255  # numbers of a picture, and its largest pixel, if it is not scaled
_BEYOND = 1e-3  # of a range: further outside is not a rounding
_BOUNDS = {sigmoid: (0.0, 1.0), softmax: (0.0, 1.0), tanh: (-1.0, 1.0)}


def range_warnings(model: Model, spec: DataSpec, training: Mapping[str, Field]) -> Iterator[Diagnostic]:
    """W0801 for raw pixels and W0837, except for those that a comment silences."""
    for warning in (*_raw_pixels(model, spec, training), *_out_of_reach(model, training)):
        if not warning.is_silenced:
            yield warning


def _first_values(field: Field) -> Array | None:
    """The numbers of the first samples, of bytes all from the least to the largest; None for sequences."""
    if isinstance(field, Ragged):
        return None
    if isinstance(field, Bytes):
        first = field.array[:_ROWS]
        return np.asarray(Bytes(np.arange(int(first.min()), int(first.max()) + 1, dtype=np.uint8), field.scale))
    return field[:_ROWS]


def _raw_pixels(model: Model, spec: DataSpec, training: Mapping[str, Field]) -> Iterator[Diagnostic]:
    """W0801 if a layer of weights reads pixels up to 255 as they are: its sums are as large, and learn badly."""
    if windows.is_series(spec.fields.values()):
        return
    for leaf in model.graph.values(Role.INPUT):
        field = spec.fields.get(leaf.name)
        if field is None or leaf.type.is_varying or not leaf.type.is_float or not _is_multiplied(model.graph, leaf):
            continue
        values = _first_values(training[leaf.name])
        if values is None or len(field.columns) > 1 or leaf.type.size(1) < _PIXELS:
            continue
        if any(STEPS[step.name].takes_text for step in field.steps):
            continue  # counts of words
        if values.min() >= 0 and _LEAST <= values.max() <= _MOST and (values == np.floor(values)).all():
            yield Diagnostic(
                "W0801",
                f"the pixels of `{leaf.name}` are not scaled",
                Label(field.span, f"they go up to {values.max():.4g}, and weights begin small"),
                hint=Hint.code("-> scale(1 / 255)", At.BEHIND),
            )


def _is_multiplied(graph: Graph, leaf: Value) -> bool:
    """Whether a product reads the elements of a leaf as they are."""
    same = {leaf}
    for value in graph.values():
        if not same.isdisjoint(value.operands):
            if value.role is Role.CONTRACTION or value.definition is conv2d:
                return True
            if value.role is Role.SHAPE or value.definition is pad or isinstance(value.attributes, Order):
                same.add(value)
    return False


def _out_of_reach(model: Model, training: Mapping[str, Field]) -> Iterator[Diagnostic]:
    """W0837 if a loss compares a sigmoid, say, with numbers beyond 0 and 1."""
    for comparison in model.comparisons:
        leaf = source_of(comparison.label)
        bounds = _bounds_of(comparison)
        if bounds is None or leaf.role not in (Role.TARGET, Role.INPUT) or not leaf.type.is_float:
            continue
        values = _first_values(training[leaf.name]) if leaf.name in training else None
        least, most = bounds
        margin = _BEYOND * (most - least)
        if values is None or (values.min() >= least - margin and values.max() <= most + margin):
            continue
        prediction = source_of(comparison.prediction)
        is_of_loss = comparison.loss not in SYMMETRIC
        what = f"`{comparison.loss}` takes numbers" if is_of_loss else f"`{prediction.operation}` gives numbers"
        mending = "mse(y, target) for numbers" if is_of_loss else f"leave `{prediction.operation}` out"
        yield Diagnostic(
            "W0837",
            f"{what} from {least:g} to {most:g}, and `{leaf.name}` goes from {values.min():.4g} to {values.max():.4g}",
            Label(comparison.span),
            () if is_of_loss else (Label(prediction.span, f"`{prediction.operation}` is here"),),
            f"{mending}; or `-> minmax` in the field",
        )


def _bounds_of(comparison: Comparison) -> tuple[float, float] | None:
    """The least and the greatest number that a loss can compare with; None if there are no bounds."""
    if comparison.loss == "binary_cross_entropy":
        return 0.0, 1.0
    definition = source_of(comparison.prediction).definition
    if comparison.loss not in SYMMETRIC or definition is None:
        return None
    return next((bounds for bounded, bounds in _BOUNDS.items() if bounded is definition), None)
