"""Operations that move elements and compute nothing: reshape, transpose, slices, concat, pad.

Attributes count axes over all dimensions, the batch included, and shapes include the batch too. Operations that only
read the operand's memory in another order are Views.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Attributes, Axis, Dims, Over
from netc.compiler.ir.forms import Form, Scalar, SpecialForm, View
from netc.compiler.ir.roles import Role
from netc.compiler.ir.strides import StridedLayout, reshaped
from netc.compiler.ir.strides import broadcast as broadcast_strides
from netc.compiler.ir.types import Dim, Mismatch, Type, broadcast_dims, fixed_size, size_of
from netc.compiler.ir.value import Operation, Value, apply, register
from netc.dsl.plural import counted


class Order(Attributes, frozen=True):
    """The axes of the operand in the order of the result."""

    order: tuple[int, ...]


class Slice(Attributes, frozen=True):
    """Every `step`-th element (each, if it is None) from start to stop (exclusive) along an axis."""

    axis: int
    start: int
    stop: int
    step: int | None = None

    @property
    def stride(self) -> int:
        """The distance between consecutive elements."""
        return 1 if self.step is None else self.step


class Pad(Attributes, frozen=True):
    """For each of `axes`: the number of elements before and after, and the distance between the operand's elements."""

    axes: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    step: tuple[int, ...]
    value: float | None = None

    @property
    def fill(self) -> float:
        """The value of the new elements."""
        return 0.0 if self.value is None else self.value


class Count(Attributes, frozen=True):
    """The number of elements of the result."""

    n: int


def _reshape_type(x: Type, dims: tuple[Dim, ...]) -> Type:
    before, after = (math.prod(dim for dim in shape if isinstance(dim, int)) for shape in (x.dims, dims))
    if before != after or [dim for dim in x.dims if isinstance(dim, str)] != [
        dim for dim in dims if isinstance(dim, str)
    ]:
        lost = next((dim for dim in x.dims[x.lead :] if isinstance(dim, str) and dim not in dims), None)
        if lost is not None:
            hint = f"`last` takes the last step, `mean(h, over = {lost})` the mean of all"
            raise Mismatch(f"`{lost}` has no fixed number of steps, so they cannot become one vector", hint=hint)
        raise Mismatch(f"{counted(before, 'element')} cannot become {after}")
    return x.with_dims(dims)


reshape = register(
    Operation(
        "reshape",
        "The same elements in another shape.",
        role=Role.SHAPE,
        attributes=Dims,
        type=_reshape_type,
        lower=View(lambda strides, r, x, dims: reshaped(strides, x.dims, dims)),
        arguments={"x": "value", "dims": "dims"},
        reference=lambda x, dims: np.reshape(x, tuple(-1 if isinstance(dim, str) else dim for dim in dims)),
        gradient=lambda g, r, x, dims: apply("reshape", g, dims=x.type.dims),
        examples=((("f64[3, 4]",), {"dims": (2, 6)}), (("f64[batch, 6]",), {"dims": ("batch", 2, 3)})),
    )
)
transpose = register(
    Operation(
        "transpose",
        "The axes in another order; if none is given, the last two are swapped.",
        attributes=Order,
        type=lambda x, order: x.with_dims(tuple(x.dims[axis] for axis in order)),
        lower=View(lambda strides, r, x, order: StridedLayout(tuple(strides[axis] for axis in order))),
        reference=lambda x, order: np.transpose(x, order),
        arguments={"x": "value", "order": "order"},
        gradient=lambda g, r, x, order: apply(
            "transpose", g, order=tuple(order.index(axis) for axis in range(len(order)))
        ),
        examples=((("f64[3, 4]",), {"order": (1, 0)}), (("f64[batch, 3, 4, 2]",), {"order": (0, 3, 1, 2)})),
    )
)


def _broadcast_type(x: Type, dims: tuple[Dim, ...]) -> Type:
    if broadcast_dims(x.dims, dims) != dims:
        raise Mismatch(f"{x} does not broadcast to {list(dims)}")
    return x.with_dims(dims)


def _broadcast_gradient(g: Value, result: Value, x: Value, dims: tuple[Dim, ...]) -> Value:
    lead = len(dims) - x.type.rank
    over = tuple(axis for axis in range(len(dims)) if axis < lead or x.type.dims[axis - lead] != dims[axis])
    return apply("reshape", apply("sum", g, over=over), dims=x.type.dims) if over else g


broadcast = register(
    Operation(
        "broadcast",
        "Repeats x along axes of size 1, and along new first axes: the dimensions are those of the result.",
        role=Role.SHAPE,
        takes_sizes=True,
        attributes=Dims,
        type=_broadcast_type,
        lower=View(lambda strides, r, x, dims: StridedLayout(broadcast_strides(strides, x.dims, dims))),
        gradient=_broadcast_gradient,
        arguments={"x": "value", "dims": "all dims"},
        reference=lambda x, dims, sizes=0: np.broadcast_to(x, tuple(size_of(dim, sizes) for dim in dims)),
        examples=((("f64[3, 1]",), {"dims": (3, 4)}), (("f64[4]",), {"dims": (2, 3, 4)})),
    )
)


def _slice_type(x: Type, axis: int, start: int, stop: int, step: int = 1) -> Type:
    return x.with_dims((*x.dims[:axis], -(-(stop - start) // step), *x.dims[axis + 1 :]))


def _slice_layout(
    strides: tuple[int, ...], r: Type, x: Type, axis: int, start: int, stop: int, step: int = 1
) -> StridedLayout:
    apart = tuple(stride * step if i == axis else stride for i, stride in enumerate(strides))
    return StridedLayout(apart, start * strides[axis])


def _slice_gradient(g: Value, result: Value, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    size, taken = fixed_size(x.type.dims[axis]), fixed_size(result.type.dims[axis])
    after = size - start - (taken - 1) * step - 1
    return apply("pad", g, axes=(axis,), before=(start,), after=(after,), step=(step,))


slice_ = register(
    Operation(
        "slice",
        "Every `step`-th element from start to stop (exclusive) along an axis.",
        attributes=Slice,
        type=_slice_type,
        lower=View(_slice_layout),
        gradient=_slice_gradient,
        is_callable=False,
        reference=lambda x, axis, start, stop, step=1: x[(np.s_[:],) * axis + (np.s_[start:stop:step],)],
        examples=(
            (("f64[3, 5]",), {"axis": 1, "start": 1, "stop": 4}),
            (("f64[batch, 5, 2]",), {"axis": 1, "start": 0, "stop": 2}),
            (("f64[batch, 7, 2]",), {"axis": 1, "start": 1, "stop": 6, "step": 2}),
        ),
    )
)


def _pad_type(
    x: Type,
    axes: tuple[int, ...],
    before: tuple[int, ...],
    after: tuple[int, ...],
    step: tuple[int, ...],
    value: float = 0.0,
) -> Type:
    dims = list(x.dims)
    for axis, first, last, apart in zip(axes, before, after, step, strict=True):
        dims[axis] = first + (fixed_size(dims[axis]) - 1) * apart + 1 + last
    return x.with_dims(tuple(dims))


def _pad_reference(
    x: Any,
    axes: tuple[int, ...],
    before: tuple[int, ...],
    after: tuple[int, ...],
    step: tuple[int, ...],
    value: float = 0.0,
) -> Any:
    dims: list[int] = list(x.shape)
    index: list[slice] = [slice(None)] * x.ndim
    for axis, first, last, apart in zip(axes, before, after, step, strict=True):
        end = first + (dims[axis] - 1) * apart + 1
        dims[axis], index[axis] = end + last, slice(first, end, apart)
    result = np.full(dims, value, x.dtype)
    result[tuple(index)] = x
    return result


def _pad_gradient(g: Value, result: Value, x: Value, **_: Any) -> Value:
    attributes = result.attributes_as(Pad)
    for axis, first, apart in zip(attributes.axes, attributes.before, attributes.step, strict=True):
        size = fixed_size(x.type.dims[axis])
        g = apply("slice", g, axis=axis, start=first, stop=first + (size - 1) * apart + 1, step=apart)
    return g


pad = register(
    Operation(
        "pad",
        "Puts a value around x along axes and, with a `step` above 1, also between its elements.",
        role=Role.ASSEMBLY,
        attributes=Pad,
        type=_pad_type,
        reference=_pad_reference,
        lower=SpecialForm(Form.PAD),
        is_callable=False,
        gradient=_pad_gradient,
        examples=(
            (("f64[3, 4]",), {"axes": (1,), "before": (1,), "after": (2,), "step": (1,)}),
            (("f64[batch, 3, 2]",), {"axes": (1, 2), "before": (2, 0), "after": (0, 1), "step": (2, 3), "value": 1.5}),
        ),
    )
)


def _reverse_type(x: Type, over: tuple[int, ...]) -> Type:
    if not all(isinstance(x.dims[axis], int) for axis in over):
        raise Mismatch("`reverse` goes along an axis of the sample", code="E0403")
    return x


def _reverse_layout(strides: tuple[int, ...], r: Type, x: Type, over: tuple[int, ...]) -> StridedLayout:
    return StridedLayout(
        tuple(-stride if axis in over else stride for axis, stride in enumerate(strides)),
        sum((fixed_size(x.dims[axis]) - 1) * strides[axis] for axis in over),
    )


reverse = register(
    Operation(
        "reverse",
        "The elements along an axis from last to first.",
        attributes=Over,
        type=_reverse_type,
        lower=View(_reverse_layout),
        arguments={"x": "value", "over": "axis = 0"},
        reference=lambda x, over: np.flip(x, over),
        gradient=lambda g, r, x, over: apply("reverse", g, over=over),
        examples=((("f64[batch, 4]",), {"over": (1,)}),),
    )
)


def _concat_type(*types: Type, axis: int) -> Type:
    first, size = types[0], 0
    for type_ in types:
        if type_.rank != first.rank:
            raise Mismatch("joined values have equally many axes", code="E0403")
        if (
            type_.dims[:axis] + type_.dims[axis + 1 :] != first.dims[:axis] + first.dims[axis + 1 :]
            or type_.dtype != first.dtype
        ):
            raise Mismatch("joined values may differ along that axis only", code="E0403")
        size += fixed_size(type_.dims[axis])
    return first.with_dims((*first.dims[:axis], size, *first.dims[axis + 1 :]))


def _concat_gradient(g: Value, result: Value, *operands: Value, axis: int) -> tuple[Value, ...]:
    starts = np.cumsum([0, *(operand.type.dims[axis] for operand in operands)]).tolist()
    return tuple(apply("slice", g, axis=axis, start=start, stop=stop) for start, stop in pairwise(starts))


concat = register(
    Operation(
        "concat",
        "Joins values along an axis (by default the last one).",
        role=Role.ASSEMBLY,
        attributes=Axis,
        type=_concat_type,
        lower=SpecialForm(Form.CONCAT),
        gradient=_concat_gradient,
        arguments={"values": "values", "over": "join"},
        reference=lambda *x, axis: np.concatenate(x, axis=axis),
        examples=((("f64[3, 4]", "f64[3, 2]"), {"axis": 1}), (("f64[batch, 4]", "f64[batch, 1]"), {"axis": 1})),
    )
)


arange = register(
    Operation(
        "arange",
        "0, 1, ... n - 1.",
        role=Role.RANGE,
        attributes=Count,
        type=lambda n: Type("i32", (n,)),
        lower=Scalar("i"),
        reference=lambda n: np.arange(n, dtype=np.int32),
        is_callable=False,
    )
)
extent = register(
    Operation(
        "extent",
        "The product of some dimensions. The size of the batch is known when the program runs.",
        role=Role.EXTENT,
        takes_sizes=True,
        attributes=Dims,
        type=lambda dims: Type("f64"),
        lower=SpecialForm(Form.EXTENT),
        is_callable=False,
        reference=lambda dims, sizes=1: math.prod(size_of(dim, sizes) for dim in dims),
    )
)
