"""Rows of a value by their index: `gather` takes them, and `scatter_add` and `segment_max` combine them."""

from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.forms import Form, Scatter, SpecialForm
from netc.compiler.ir.types import Dim, Mismatch, Type, size_of
from netc.compiler.ir.value import Operation, Value, apply, register


class RowCount(Attributes, frozen=True):
    """The number of rows of the result."""

    rows: Dim


def _gather_type(table: Type, index: Type) -> Type:
    if index.dtype != "i32":
        raise Mismatch("an index must be a class or a whole number", code="E0402")
    return table.with_dims(index.dims + table.dims[1:])


gather = register(
    Operation(
        "gather",
        "table[index]: a row of the table for each index.",
        attributes=Attributes,
        type=_gather_type,
        lower=SpecialForm(Form.GATHER),
        arguments={"table": "value", "index": "value"},
        reference=lambda table, index: table[index],
        examples=((("f64[5, 3]", "class(5)[batch]"), {}), (("f64[5]", "class(5)[batch, 2]"), {})),
        gradient=lambda g, r, table, index: (apply("scatter_add", g, index, rows=table.type.dims[0]), None),
    )
)

scatter_add = register(
    Operation(
        "scatter_add",
        "Adds each row of x to the row of the result with its index: the gradient of gather.",
        takes_sizes=True,
        attributes=RowCount,
        lower=Scatter("0", "a + b"),
        is_callable=False,
        type=lambda x, index, rows: x.with_dims((rows, *x.dims[index.rank :])),
        gradient=lambda g, r, x, index, rows: (apply("gather", g, index), None),
        reference=lambda x, index, rows, sizes=0: _scatter(np.add, 0, x, index, size_of(rows, sizes)),
        examples=((("f64[batch, 3]", "class(5)[batch]"), {"rows": 5}),),
    )
)


def _scatter(combine: Any, start: float, x: Any, index: Any, rows: int) -> Any:
    result = np.full((rows, *x.shape[index.ndim :]), start, x.dtype)
    combine.at(result, index, x)
    return result


def _largest_gradient(g: Value, r: Value, x: Value, index: Value, rows: Dim) -> tuple[Value, None]:
    """The gradient goes in equal parts to all rows that are equal to the largest."""
    chosen = apply("cast", apply("equal", x, apply("gather", r, index)), dtype=x.type.dtype)
    share = g / apply("scatter_add", chosen, index, rows=rows)
    return chosen * apply("gather", share, index), None


segment_max = register(
    Operation(
        "segment_max",
        "For each index, the largest of the rows of x with that index; -inf if there is none.",
        takes_sizes=True,
        attributes=RowCount,
        lower=Scatter("-inf", "a if a >= b or a != a else b"),
        is_callable=False,
        type=lambda x, index, rows: x.with_dims((rows, *x.dims[index.rank :])),
        gradient=_largest_gradient,
        reference=lambda x, index, rows, sizes=0: _scatter(np.maximum, -np.inf, x, index, size_of(rows, sizes)),
        examples=((("f64[batch, 3]", "class(2)[batch]"), {"rows": 2}),),
    )
)
