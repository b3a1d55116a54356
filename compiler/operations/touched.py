"""The rows of a table that a batch touches: each of them once, the sums of their gradients, and their new values.

An index names a row for each of its elements, and may name a row several times. The first of equal elements stands
for the row: sums are kept there, and new values are read from there. The cost depends only on the index, not on the
rows of the table.
"""

from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.forms import Form, Scatter, SpecialForm
from netc.compiler.ir.types import Mismatch, Type
from netc.compiler.ir.value import Operation, register

Array = np.ndarray[Any, Any]


def _first_equal_type(index: Type) -> Type:
    if index.dtype != "i32":
        raise Mismatch("an index must be a class or a whole number", code="E0402")
    return Type("i32", index.dims)


def _first_equal(index: Array) -> Array:
    _, first, inverse = np.unique(index, return_index=True, return_inverse=True)
    return first[inverse].reshape(index.shape).astype(np.int32)


def _rows(x: Array, first: Array) -> Array:
    """The rows of x as a list: `first` numbers the elements of an index in row-major order."""
    return x.reshape(first.size, *x.shape[first.ndim :])


def _sum_at(x: Array, first: Array) -> Array:
    result = np.zeros(x.shape, x.dtype)
    np.add.at(_rows(result, first), first.ravel(), _rows(x, first))
    return result


def _put_type(table: Type, index: Type, rows: Type, first: Type) -> Type:
    if rows.dims != index.dims + table.dims[1:] or first.dims != index.dims:
        raise Mismatch("there is a row for each index")
    return table


def _put(table: Array, index: Array, rows: Array, first: Array) -> Array:
    result = table.copy()
    result[index] = _rows(rows, first)[first]
    return result


first_equal = register(
    Operation(
        "first_equal",
        "For each element of an index, the number of the first element that is equal to it.",
        attributes=Attributes,
        is_callable=False,
        type=_first_equal_type,
        lower=SpecialForm(Form.FIRST_EQUAL),
        reference=_first_equal,
        examples=((("class(3)[batch]",), {}), (("class(4)[batch, 2]",), {}), (("class(9)[5]",), {})),
    )
)

sum_at = register(
    Operation(
        "sum_at",
        "Adds each row of x to the row with the number `first`; rows to which nothing is added are 0.",
        attributes=Attributes,
        is_callable=False,
        type=lambda x, first: x,
        lower=Scatter("0", "a + b"),
        reference=_sum_at,
        examples=((("f64[batch, 3]", "class(2)[batch]"), {}), (("f64[batch, 2, 3]", "class(3)[batch, 2]"), {})),
    )
)

put = register(
    Operation(
        "put",
        "The table with other values in the rows that an index names: row index[i] becomes row first[i] of `rows`.",
        attributes=Attributes,
        is_callable=False,
        type=_put_type,
        lower=SpecialForm(Form.PUT),
        reference=_put,
        examples=(
            (("f64[5, 3]", "class(5)[batch]", "f64[batch, 3]", "class(1)[batch]"), {}),
            (("f64[7]", "class(7)[batch, 2]", "f64[batch, 2]", "class(2)[batch, 2]"), {}),
        ),
    )
)
