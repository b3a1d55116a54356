"""Random values by a counter-based generator, without a state that is carried along.

Each element is a function of seed, epoch, stream, sample, step and position. So the bits do not depend on how a batch
is divided, on the number of threads, or on where a run was resumed. The runtime provides two leaves of kind `given`:
`random.sample`, the number of each sample in the data, and `random.STREAM`, two words hashed from seed, stream and
epoch. The rest is arithmetic on 32-bit words, which is written in operations.
"""

import math
from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Attributes, ElementType
from netc.compiler.ir.forms import Expansion, Scalar
from netc.compiler.ir.index_tables import TableKind, table
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.ir.types import BATCH, DTYPES, Type
from netc.compiler.ir.value import Operation, Value, apply, register
from netc.compiler.operations.elementwise_definition import elementwise, result_type

RANDOM = ("uniform_like", "normal_like")


class Stream(Attributes, frozen=True):
    """The number of the stream of random words that a value draws from."""

    stream: int


def _mix(x: Any) -> Any:
    """A permutation of 32-bit words in which each bit depends on all others: lowbias32 of Wellons' hash-prospector."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def _scramble(x: Any, y: Any) -> Any:
    x, y = np.asarray(x).view(np.uint32), np.asarray(y).view(np.uint32)
    with np.errstate(over="ignore"):
        return np.asarray(_mix(_mix(x ^ y) + y)).view(np.int32)


elementwise(
    "scramble",
    "A hash of two 32-bit words. For each y it is a permutation of x.",
    scalar="scramble(x, y)",
    operands=2,
    reference=_scramble,
    type=result_type,
    dtype="i32",
    domain=(-(2.0**31), 2.0**31),
    is_callable=False,
)
register(
    Operation(
        "unit",
        "The upper 24 bits of a 32-bit word as a float in [0, 1), the same number in any precision.",
        attributes=ElementType,
        type=lambda x, dtype: Type(dtype, x.dims),
        lower=Scalar("unit(x)"),
        reference=lambda x, dtype: (
            (x.view(np.uint32) >> np.uint32(8)).astype(DTYPES[dtype].numpy) * DTYPES[dtype].numpy.type(2**-24)
        ),
        examples=((("i32[3]",), {"dtype": "f32"}), (("i32[batch, 2]",), {"dtype": "f64"})),
        domain=(-(2.0**31), 2.0**31),
        is_callable=False,
    )
)


def _draw(like: Value, stream: int, is_second: bool = False) -> Value:
    """A random number, uniform in [0, 1), for each element of a value.

    A stream has two independent sequences of numbers; `is_second` selects the second one.
    """
    graph, rows = like.graph, like.type.rows
    sample = tuple(int(dim) for dim in (like.type.dims if rows is None else like.type.dims[1:]))
    keys = graph.leaf(Role.GIVEN, str(SuppliedKind.RANDOM.named(stream)), Type("i32", (2,)))
    first, second = (apply("reshape", apply("slice", keys, axis=0, start=i, stop=i + 1), dims=()) for i in range(2))
    if is_second:
        first, second = second, first
    n = math.prod(sample)
    element = apply("reshape", graph.add("arange", (), {"n": n}, Type("i32", (n,))), dims=sample)
    row = apply("scramble", first, second)
    if rows is not None:
        number = graph.leaf(Role.GIVEN, str(SuppliedKind.SAMPLES.named()), Type("i32", (BATCH,)))
        row = apply("scramble", apply("scramble", number, first), second)
        if rows != BATCH:
            row = apply(
                "scramble",
                apply("gather", row, table(graph, TableKind.SAMPLE, rows)),
                table(graph, TableKind.STEP, rows),
            )
        row = apply("reshape", row, dims=(rows, *(1,) * len(sample)))
    return apply("unit", apply("scramble", element, row), dtype=like.type.dtype)


def _normal(x: Value, stream: int) -> Value:
    """Normal random numbers, sqrt(-2 log u) cos(2 pi v) with u in (0, 1] (Box and Muller 1958)."""
    radius = apply("sqrt", -2.0 * apply("log", 1.0 - _draw(x, stream)))
    return radius * apply("cos", _draw(x, stream, is_second=True) * (2 * math.pi))


def _dropout(x: Value, rate: float, stream: int) -> Value:
    """Dropout (Srivastava et al. 2014). Training scales the kept elements up, so that prediction needs no scaling."""
    kept = apply("uniform_like", x, stream=stream) >= rate
    dropped = apply("where", kept, x * (1 / (1 - rate)), 0.0)
    return apply("where", x.graph.add("training", (), {}, Type("bool")), dropped, x)


def _drawn(*_: Any, **__: Any) -> Any:
    raise AssertionError("a random value is expanded before it is computed")


for _name, _doc, _build in (
    ("uniform_like", "Random numbers of the shape of x, uniform in [0, 1), drawn anew in each step.", _draw),
    (
        "normal_like",
        "Normal random numbers of the shape of x, with mean 0 and variance 1, drawn anew in each step.",
        _normal,
    ),
):
    register(
        Operation(
            _name,
            _doc,
            role=Role.RANDOM,
            attributes=Stream,
            type=lambda x, stream: x,
            lower=Expansion(_build),
            reference=_drawn,
            arguments={"x": "value", "stream": "stream"},
            gradient=lambda g, r, x, stream: (None,),
        )
    )

register(
    Operation(
        "dropout",
        "In training, sets each element to 0 with probability `rate` and scales the others up, which keeps the mean.",
        type=_drawn,
        lower=Expansion(_dropout),
        reference=_drawn,
        arguments={"x": "value", "rate": "share = 0.5", "stream": "stream"},
    )
)
