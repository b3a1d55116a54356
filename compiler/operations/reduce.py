"""Reductions, and operations that are built of them: mean, variance, norm, softmax, log_softmax and logsumexp.

`over` are the axes that a reduction removes. They are counted from 0 over all dimensions, the batch included. Mean and
norm are expanded where they are applied. The variance, softmax, log_softmax and logsumexp remain one value until the
pass `expand`: so their gradients are short, and the graph looks like the file.
"""

from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Dims, Over
from netc.compiler.ir.forms import Expansion, Fold, Form, SpecialForm
from netc.compiler.ir.types import Bounded, Dim, Type
from netc.compiler.ir.value import Operation, Value, apply, register

Axes = tuple[int, ...]


def reduced_dims(dims: tuple[Dim, ...], over: Axes) -> tuple[Dim, ...]:
    """The dimensions without the axes `over`."""
    return tuple(dim for axis, dim in enumerate(dims) if axis not in over)


def kept_dims(dims: tuple[Dim, ...], over: Axes) -> tuple[Dim, ...]:
    """The dimensions with size 1 along the axes `over`."""
    return tuple(1 if axis in over else dim for axis, dim in enumerate(dims))


def reduced_type(x: Type, over: Axes) -> Type:
    return x.with_dims(reduced_dims(x.dims, over))


def same_type(x: Type, over: Axes) -> Type:
    return x


def restore(reduced: Value, like: Value, over: Axes) -> Value:
    """Gives a reduced value its axes back, with size 1, so that it broadcasts against `like`, which was reduced."""
    return apply("reshape", reduced, dims=kept_dims(like.type.dims, over))


def as_float(x: Value) -> Value:
    """Converts bools and whole numbers to floats of the graph's precision; returns floats unchanged."""
    return x if x.type.is_float else apply("cast", x, dtype=x.graph.precision)


def extent(like: Value, axes: Axes) -> Value:
    """The number of elements along some axes of a value, as a scalar of its element type.

    The size of the batch is known only when the program runs.
    """
    dims = tuple(like.type.dims[axis] for axis in axes)
    return like.graph.add("extent", (), Dims(dims), Type(like.type.dtype))


_EXAMPLES = (
    (("f64[3, 4]",), {"over": (1,)}),
    (("f64[batch, 3, 5]",), {"over": (0, 2)}),
    (("f64[batch, 7]",), {"over": (0, 1)}),
    (("f64[batch, 6]",), {"over": (0,)}),
)
_ARGUMENTS = {"x": "value", "over": "axes"}

sum_ = register(
    Operation(
        "sum",
        "The sum over axes.",
        attributes=Over,
        type=reduced_type,
        reference=lambda x, over: np.sum(x, axis=over, dtype=x.dtype),
        lower=Fold("0", "a + b"),
        arguments=_ARGUMENTS,
        gradient=lambda g, r, x, over: apply("broadcast", restore(g, x, over), dims=x.type.dims),
        examples=_EXAMPLES,
    )
)


def _extreme_gradient(g: Value, result: Value, x: Value, over: Axes) -> Value:
    """The gradient goes in equal parts to all elements that are equal to the extreme."""
    chosen = as_float(apply("equal", x, restore(result, x, over)))
    return restore(g / apply("sum", chosen, over=over), x, over) * chosen


max_ = register(
    Operation(
        "max",
        "The largest element over axes.",
        attributes=Over,
        type=reduced_type,
        reference=lambda x, over: np.max(x, axis=over),
        arguments=_ARGUMENTS,
        lower=Fold("-inf", "a if a >= b or a != a else b", keyed="max"),
        gradient=_extreme_gradient,
        examples=_EXAMPLES,
    )
)
min_ = register(
    Operation(
        "min",
        "The smallest element over axes.",
        attributes=Over,
        type=reduced_type,
        reference=lambda x, over: np.min(x, axis=over),
        arguments=_ARGUMENTS,
        lower=Fold("inf", "a if a <= b or a != a else b", keyed="min"),
        gradient=_extreme_gradient,
        examples=_EXAMPLES,
    )
)


def _argmax_type(x: Type, over: Axes) -> Type:
    """A class(n) for an axis of n elements; a whole number along a varying dimension."""
    size = x.dims[over[0]]
    is_fixed = isinstance(size, int) and not isinstance(size, Bounded)
    return Type("i32", reduced_dims(x.dims, over), int(size) if is_fixed else None)


argmax = register(
    Operation(
        "argmax",
        "The position of the largest element along one axis; of equal ones, the first.",
        attributes=Over,
        type=_argmax_type,
        reference=lambda x, over: np.argmax(x, axis=over[0]).astype(np.int32),
        lower=SpecialForm(Form.ARGMAX),
        arguments={"x": "value", "over": "axis"},
        examples=((("f64[3, 4]",), {"over": (1,)}), (("f64[batch, 3, 5]",), {"over": (1,)})),
    )
)


def build_mean(x: Value, over: Axes) -> Value:
    """The mean over axes, as a float; x itself as a float if there are no axes."""
    number = as_float(x)
    if not over:
        return number
    return apply("sum", number, over=over) / extent(number, over)


def _build_variance(x: Value, over: Axes) -> Value:
    return build_mean(apply("square", x - restore(build_mean(x, over), x, over)), over)


def _expanded(name: str, doc: str, build: Any, reference: Any) -> Operation:
    return register(
        Operation(
            name,
            doc,
            attributes=Over,
            type=reduced_type,
            reference=reference,
            lower=Expansion(build),
            arguments=_ARGUMENTS,
            examples=_EXAMPLES,
        )
    )


mean = _expanded("mean", "The mean over axes.", build_mean, lambda x, over: np.mean(x, axis=over))
variance_whole = register(
    Operation(
        "variance_whole",
        "The variance of floats over axes (the population variance, divided by n).",
        attributes=Over,
        type=reduced_type,
        reference=lambda x, over: np.var(x, axis=over),
        lower=Expansion(_build_variance),
        is_callable=False,
        # no part for the mean: its gradient is the sum of all x - mean, which is 0
        gradient=lambda g, r, x, over: (
            (x - restore(build_mean(x, over), x, over)) * restore(g * 2 / extent(x, over), x, over)
        ),
        examples=_EXAMPLES,
    )
)
variance = _expanded(
    "variance",
    "The variance over axes (the population variance, divided by n).",
    lambda x, over: apply("variance_whole", as_float(x), over=over) if over else _build_variance(x, over),
    lambda x, over: np.var(x, axis=over),
)
norm = _expanded(
    "norm",
    "The Euclidean norm over axes.",
    lambda x, over: apply("sqrt", apply("sum", x * x, over=over)),
    lambda x, over: np.sqrt(np.sum(x * x, axis=over)),
)


# ------------------------------------------------------------------ softmax, log_softmax, logsumexp


def _reference_logsumexp(x: Any, over: Axes) -> Any:
    top = np.max(x, axis=over, keepdims=True)
    return np.log(np.sum(np.exp(x - top), axis=over)) + np.squeeze(top, axis=over)


def _reference_softmax(x: Any, over: Axes) -> Any:
    powers = np.exp(x - np.max(x, axis=over, keepdims=True))
    return powers / np.sum(powers, axis=over, keepdims=True)


def _powers(x: Value, over: Axes) -> tuple[Value, Value, Value]:
    """exp(x - max), its sum, and the maximum. The exponentials cannot overflow, because no exponent is positive."""
    top = apply("max", x, over=over)
    powers = apply("exp", x - restore(top, x, over))
    return powers, apply("sum", powers, over=over), top


def _build_softmax(x: Value, over: Axes) -> Value:
    powers, total, _ = _powers(x, over)
    return powers / restore(total, x, over)


def _build_logsumexp(x: Value, over: Axes) -> Value:
    _, total, top = _powers(x, over)
    return apply("log", total) + top


_SOFT_ARGUMENTS = {"x": "value", "over": "axis = -1"}
_SOFT_EXAMPLES = ((("f64[3, 4]",), {"over": (1,)}), (("f64[batch, 10]",), {"over": (1,)}))

softmax = register(
    Operation(
        "softmax",
        "exp(x) / sum(exp(x)) along an axis (by default the last one): positive numbers that sum to 1.",
        attributes=Over,
        type=same_type,
        reference=_reference_softmax,
        lower=Expansion(_build_softmax),
        arguments=_SOFT_ARGUMENTS,
        gradient=lambda g, r, x, over: r * (g - restore(apply("sum", g * r, over=over), x, over)),
        examples=_SOFT_EXAMPLES,
    )
)
log_softmax = register(
    Operation(
        "log_softmax",
        "log(softmax(x)), computed without softmax, so that small probabilities keep their digits.",
        attributes=Over,
        type=same_type,
        reference=lambda x, over: x - np.expand_dims(_reference_logsumexp(x, over), over),
        lower=Expansion(lambda x, over: x - restore(_build_logsumexp(x, over), x, over)),
        arguments=_SOFT_ARGUMENTS,
        gradient=lambda g, r, x, over: g - apply("exp", r) * restore(apply("sum", g, over=over), x, over),
        examples=_SOFT_EXAMPLES,
    )
)
logsumexp = register(
    Operation(
        "logsumexp",
        "log(sum(exp(x))) along an axis (by default the last one), stable for large x.",
        attributes=Over,
        type=reduced_type,
        reference=_reference_logsumexp,
        lower=Expansion(_build_logsumexp),
        arguments=_SOFT_ARGUMENTS,
        gradient=lambda g, r, x, over: restore(g, x, over) * apply("softmax", x, over=over),
        examples=_SOFT_EXAMPLES,
    )
)
