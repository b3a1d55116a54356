"""Reductions, and what is made of them: softmax and its kin.

`over` counts axes from 0 over all dimensions, the batch included; the axes reduced are gone from the result. Built-up ones
(mean, variance, ...) are expanded where they are applied; softmax, log_softmax and logsumexp stay whole until `expand`, so that the graph reads as the
file does and their gradients are the short ones.
"""

from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.forms import Form
from netc.compiler.ir.types import Bounded, Dim, Type
from netc.compiler.ir.value import Expansion, Fold, Kernel, Operation, Value, apply, register

Axes = tuple[int, ...]


def reduced_dims(dims: tuple[Dim, ...], over: Axes) -> tuple[Dim, ...]:
    return tuple(dim for axis, dim in enumerate(dims) if axis not in over)


def kept_dims(dims: tuple[Dim, ...], over: Axes) -> tuple[Dim, ...]:
    return tuple(1 if axis in over else dim for axis, dim in enumerate(dims))


def reduced_type(x: Type, over: Axes) -> Type:
    return x.with_dims(reduced_dims(x.dims, over))


def same_type(x: Type, over: Axes) -> Type:
    return x


def restore(reduced: Value, like: Value, over: Axes) -> Value:
    """A reduced value with its axes back as ones, ready to broadcast against what it was reduced from."""
    return apply("reshape", reduced, dims=kept_dims(like.type.dims, over))


def as_float(x: Value) -> Value:
    """Bools and whole numbers as numbers of the graph's precision."""
    return x if x.type.is_float else apply("cast", x, dtype=x.graph.precision)


def extent(like: Value, axes: Axes) -> Value:
    """How many elements the axes of a value hold together, as a scalar of its type; the batch's share is known when the program runs."""
    dims = tuple(like.type.dims[axis] for axis in axes)
    return like.graph.add("extent", (), {"dims": dims}, Type(like.type.dtype))


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
    """To all elements that equal the extreme, in equal parts."""
    chosen = as_float(apply("equal", x, restore(result, x, over)))
    return restore(g, x, over) * chosen / restore(apply("sum", chosen, over=over), x, over)


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
    """A class of as many as there are places; along a varying dimension a whole number."""
    size = x.dims[over[0]]
    is_fixed = isinstance(size, int) and not isinstance(size, Bounded)
    return Type("i32", reduced_dims(x.dims, over), int(size) if is_fixed else None)


argmax = register(
    Operation(
        "argmax",
        "Where the largest element stands along one axis; the first of equals.",
        attributes=Over,
        type=_argmax_type,
        reference=lambda x, over: np.argmax(x, axis=over[0]).astype(np.int32),
        lower=Kernel(Form.ARGMAX),
        arguments={"x": "value", "over": "axis"},
        examples=((("f64[3, 4]",), {"over": (1,)}), (("f64[batch, 3, 5]",), {"over": (1,)})),
    )
)


def build_mean(x: Value, over: Axes) -> Value:
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
        "The population's variance over axes, of floats.",
        attributes=Over,
        type=reduced_type,
        reference=lambda x, over: np.var(x, axis=over),
        lower=Expansion(_build_variance),
        is_callable=False,
        # the mean's own part is the sum of what lies above and below it: 0
        gradient=lambda g, r, x, over: (
            (x - restore(build_mean(x, over), x, over)) * restore(g * 2 / extent(x, over), x, over)
        ),
        examples=_EXAMPLES,
    )
)
variance = _expanded(
    "variance",
    "The population's variance over axes.",
    lambda x, over: apply("variance_whole", as_float(x), over=over) if over else _build_variance(x, over),
    lambda x, over: np.var(x, axis=over),
)
norm = _expanded(
    "norm",
    "The Euclidean norm over axes.",
    lambda x, over: apply("sqrt", apply("sum", x * x, over=over)),
    lambda x, over: np.sqrt(np.sum(x * x, axis=over)),
)


# ------------------------------------------------------------------ softmax and its kin


def _reference_logsumexp(x: Any, over: Axes) -> Any:
    top = np.max(x, axis=over, keepdims=True)
    return np.log(np.sum(np.exp(x - top), axis=over)) + np.squeeze(top, axis=over)


def _reference_softmax(x: Any, over: Axes) -> Any:
    powers = np.exp(x - np.max(x, axis=over, keepdims=True))
    return powers / np.sum(powers, axis=over, keepdims=True)


def _powers(x: Value, over: Axes) -> tuple[Value, Value, Value]:
    """exp(x - max), its sum and the maximum: no exponential of a positive number, whatever x holds."""
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
        "exp(x) / sum(exp(x)) along an axis (the last one): positive numbers that sum to 1.",
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
        "The logarithm of softmax, computed without forming it.",
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
        "log(sum(exp(x))) along an axis (the last one), stable for large x.",
        attributes=Over,
        type=reduced_type,
        reference=_reference_logsumexp,
        lower=Expansion(_build_logsumexp),
        arguments=_SOFT_ARGUMENTS,
        gradient=lambda g, r, x, over: restore(g, x, over) * apply("softmax", x, over=over),
        examples=_SOFT_EXAMPLES,
    )
)
