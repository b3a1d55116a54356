"""The running sum along an axis, from its first element on, or from its last one (the gradient of the other)."""

from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.forms import Form, SpecialForm
from netc.compiler.ir.types import Mismatch, Type
from netc.compiler.ir.value import Operation, Value, apply, register


class RunningSum(Over, frozen=True):
    """The one axis in `over`, and whether the sum runs from the last element to the first."""

    is_reversed: bool | None = None


def _type(x: Type, over: tuple[int, ...], is_reversed: bool = False) -> Type:
    if not x.is_float:
        raise Mismatch("a running sum needs floats", code="E0402")
    if not isinstance(x.dims[over[0]], int):
        raise Mismatch("a running sum goes along an axis of the sample", code="E0403")
    return x


def _reference(x: Any, over: tuple[int, ...], is_reversed: bool = False) -> Any:
    """Adds one element after another, as the kernel does: the bits are the same."""
    if is_reversed:
        return np.flip(np.cumsum(np.flip(x, over), axis=over[0]), over)
    return np.cumsum(x, axis=over[0])


def _gradient(g: Value, r: Value, x: Value, over: tuple[int, ...], is_reversed: bool = False) -> Value:
    """An element is in its own sum and in all later ones, so the sum of their gradients runs the other way."""
    if is_reversed:
        return apply("cumsum", g, over=over)
    return apply("cumsum", g, over=over, is_reversed=True)


cumsum = register(
    Operation(
        "cumsum",
        "The running sum along an axis (by default the last one).",
        attributes=RunningSum,
        type=_type,
        reference=_reference,
        lower=SpecialForm(Form.RUNNING_SUM),
        gradient=_gradient,
        arguments={"x": "value", "over": "axis = -1"},
        examples=(
            (("f64[3, 4]",), {"over": (1,)}),
            (("f64[batch, 3, 5]",), {"over": (1,)}),
            (("f64[batch, 11, 3]",), {"over": (2,)}),
            (("f64[7, 5]",), {"over": (0,)}),
            (("f64[6]",), {"over": (0,), "is_reversed": True}),
            (("f64[batch, 4, 19]",), {"over": (1,), "is_reversed": True}),
            (("f64[batch, 21]",), {"over": (1,), "is_reversed": True}),
        ),
    )
)
