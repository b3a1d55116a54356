"""Operations that are expanded where they are applied: shapes that `reshape` gives, and `one_hot`."""

import math
from typing import Any

import numpy as np

from netc.compiler.ir.forms import Expansion
from netc.compiler.ir.types import Mismatch, Type
from netc.compiler.ir.value import Operation, Value, apply, register


def _build_flatten(x: Value) -> Value:
    return apply(
        "reshape",
        x,
        dims=x.type.dims[: len(x.type.dims) - len(x.type.sample)]
        + (math.prod(dim for dim in x.type.sample if isinstance(dim, int)),),
    )


def _build_squeeze(x: Value) -> Value:
    lead = len(x.type.dims) - len(x.type.sample)
    return apply("reshape", x, dims=x.type.dims[:lead] + tuple(dim for dim in x.type.sample if dim != 1))


def _build_one_hot(x: Value, n: int) -> Value:
    if x.type.dtype != "i32":
        raise Mismatch("one_hot takes a class or a whole number", code="E0402")
    positions = x.graph.add("arange", (), {"n": n}, Type("i32", (n,)))
    return apply(
        "cast", apply("equal", apply("reshape", x, dims=(*x.type.dims, 1)), positions), dtype=x.graph.precision
    )


def _unknown_type(*_: Type, **__: Any) -> Type:
    raise AssertionError("expanded where it is applied")


flatten = register(
    Operation(
        "flatten",
        "Puts all elements of a sample into one axis.",
        type=_unknown_type,
        lower=Expansion(_build_flatten),
        reference=lambda x: np.reshape(x, -1),
        arguments={"x": "value"},
    )
)
squeeze = register(
    Operation(
        "squeeze",
        "Removes the dimensions of size 1.",
        type=_unknown_type,
        lower=Expansion(_build_squeeze),
        reference=np.squeeze,
        arguments={"x": "value"},
    )
)
unsqueeze = register(
    Operation(
        "unsqueeze",
        "Adds a dimension of size 1 at an axis of the result (by default the last one): the inverse of squeeze.",
        type=_unknown_type,
        lower=Expansion(lambda x, axis: apply("reshape", x, dims=(*x.type.dims[:axis], 1, *x.type.dims[axis:]))),
        reference=lambda x, axis: np.expand_dims(x, axis),
        arguments={"x": "value", "axis": "new axis = -1"},
    )
)
one_hot = register(
    Operation(
        "one_hot",
        "1 where the class is, else 0: class(n) -> float[n].",
        type=_unknown_type,
        lower=Expansion(_build_one_hot),
        arguments={"x": "value", "n": "number = 0"},
        reference=lambda x, n: np.eye(n)[x],
        examples=((("class(5)[batch]",), {"n": 5}),),
    )
)
