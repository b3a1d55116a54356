"""Products: `einsum` of two operands, and matmul and outer, which are built of it.

The gradient of an einsum consists of einsums, so no other product is needed.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.forms import Expansion, Form, SpecialForm
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Dim, Mismatch, Sizes, Type, size_of
from netc.compiler.ir.value import Operation, Value, apply, register


class Subscripts(Attributes, frozen=True):
    """A letter for each axis of both operands and of the result, such as `ik,kj->ij`.

    The product is summed over the letters that the result lacks.
    """

    subscripts: str

    @property
    def inputs(self) -> str:
        """The letters of both operands, with a comma between them."""
        return self.subscripts.partition("->")[0]

    @property
    def out(self) -> str:
        """The letters of the result."""
        return self.subscripts.partition("->")[2]


def index_sizes(subscripts: str, *types: Type) -> dict[str, Dim]:
    """The dimension of each letter. Raises Mismatch if a letter stands for two different dimensions."""
    inputs = subscripts.partition("->")[0].split(",")
    sizes: dict[str, Dim] = {}
    for letters, type_ in zip(inputs, types, strict=True):
        if len(letters) != type_.rank:
            raise Mismatch(f"`{letters}` names {len(letters)} axes of {type_}")
        for letter, dim in zip(letters, type_.dims, strict=True):
            if sizes.setdefault(letter, dim) != dim:
                raise Mismatch(f"the dimensions {sizes[letter]} and {dim} must be equal here")
    return sizes


def is_matmul(subscripts: str) -> bool:
    """Whether a product is x[..., k] @ y[k, m], or x[..., n, k] @ y[..., k, m] with the same leading axes."""
    inputs, _, out = subscripts.partition("->")
    x, y = inputs.split(",")
    if not x or len(y) < 2 or y[-2] != x[-1] or out != x[:-1] + y[-1] or y[-1] in x:
        return False
    return len(y) == 2 or (len(x) == len(y) and x[:-2] == y[:-2])


def is_outer(product: Value) -> bool:
    """Whether a product sums nothing: it has an index of each operand, or those that it lacks are of one element."""
    subscripts = product.attributes_as(Subscripts)
    sizes = index_sizes(subscripts.subscripts, *(operand.type for operand in product.operands))
    return all(size == 1 for letter, size in sizes.items() if letter not in subscripts.out)


def multiplied(product: Value, operands: Sequence[Value]) -> Value:
    """Returns a product that sums nothing (`is_outer`) as a multiplication of these operands, element by element."""
    subscripts = product.attributes_as(Subscripts)
    factors = []
    for letters, operand in zip(subscripts.inputs.split(","), operands, strict=True):
        dims = dict(zip(letters, operand.type.dims, strict=True))
        kept = [axis for axis, letter in enumerate(letters) if letter in subscripts.out]
        order = sorted(kept, key=lambda axis: subscripts.out.index(letters[axis]))
        lacking = [axis for axis in range(len(letters)) if axis not in kept]
        turned = apply("transpose", operand, order=(*order, *lacking)) if order != kept else operand
        factors.append(apply("reshape", turned, dims=tuple(dims.get(letter, 1) for letter in subscripts.out)))
    return factors[0] * factors[1]


def einsum_type(x: Type, y: Type, subscripts: str) -> Type:
    if not (x.is_float and x.dtype == y.dtype):
        raise Mismatch("a product needs floats", code="E0402")
    sizes = index_sizes(subscripts, x, y)
    return Type(x.dtype, tuple(sizes[letter] for letter in subscripts.partition("->")[2]))


def _gradient(g: Value, result: Value, x: Value, y: Value, subscripts: str) -> tuple[Value, Value]:
    """The gradient of each operand: the product of the result's gradient with the other operand.

    Along an axis that only this operand has, the gradient is repeated.
    """
    inputs, _, out = subscripts.partition("->")
    left, right = inputs.split(",")

    def towards(operand: Value, letters: str, other: Value, other_letters: str) -> Value:
        reachable = "".join(letter for letter in letters if letter in out + other_letters)
        part = apply("einsum", g, other, subscripts=f"{out},{other_letters}->{reachable}")
        if reachable == letters:
            return part
        dims = tuple(dim if letter in reachable else 1 for letter, dim in zip(letters, operand.type.dims, strict=True))
        return apply("broadcast", apply("reshape", part, dims=dims), dims=operand.type.dims)

    return towards(x, left, y, right), towards(y, right, x, left)


def einsum_flops(out: Type, x: Type, y: Type, subscripts: str, sizes: Sizes = 1) -> int:
    return 2 * math.prod(size_of(dim, sizes) for dim in index_sizes(subscripts, x, y).values())


einsum = register(
    Operation(
        "einsum",
        'Sums of products of two operands, with a letter for each axis: einsum(x, y, "ik,kj->ij").',
        role=Role.CONTRACTION,
        attributes=Subscripts,
        type=einsum_type,
        lower=SpecialForm(Form.CONTRACTION),
        is_callable=False,
        reference=lambda x, y, subscripts: np.einsum(subscripts, x, y, optimize=True),
        gradient=_gradient,
        arguments={"x": "value", "y": "value", "subscripts": "text"},
        examples=(
            (("f64[3, 4]", "f64[4, 5]"), {"subscripts": "ik,kj->ij"}),
            (("f64[batch, 4]", "f64[4, 35]"), {"subscripts": "bk,kj->bj"}),
            (("f64[batch, 5]", "f64[batch, 33]"), {"subscripts": "bi,bj->ij"}),
            (("f64[batch, 6]", "f64[4, 6]"), {"subscripts": "bk,jk->bj"}),
            (("f64[batch, 3, 4]", "f64[batch, 4, 2]"), {"subscripts": "bik,bkj->bij"}),
            (("f64[batch, 3]", "f64[3]"), {"subscripts": "bk,k->b"}),
            (("f64[batch, 2, 3]", "f64[3, 7]"), {"subscripts": "btk,kj->btj"}),
        ),
    )
)


def _build_matmul(x: Value, y: Value) -> Value:
    """x[..., n, k] @ y[..., k, m]. If an operand is a vector, the result lacks its axis."""
    if not x.type.sample or not y.type.sample:
        raise Mismatch("`@` needs at least a vector on each side", "a number multiplies with `*`")
    row_size, column_size = x.type.dims[-1], y.type.sample[0] if len(y.type.sample) == 1 else y.type.dims[-2]
    if row_size != column_size:
        raise Mismatch(f"`@` multiplies rows of {row_size} with columns of {column_size}")
    x_letters = "B" * x.type.lead + "abcdefgh"[: len(x.type.sample) - 1] + "k"
    rows = "abcdefgh"[: len(x.type.sample) - 1]
    lead = len(y.type.sample) - 2
    if lead > 0 and (lead != len(rows) - 1 or x.type.sample[:lead] != y.type.sample[:lead]):
        raise Mismatch(f"the leading dimensions of {list(x.type.sample)} and {list(y.type.sample)} differ")
    y_letters = "B" * y.type.lead + (rows[:lead] if lead > 0 else "") + ("k" if len(y.type.sample) == 1 else "kn")
    out = "B" * max(x.type.lead, y.type.lead) + rows + ("" if len(y.type.sample) == 1 else "n")
    return apply("einsum", x, y, subscripts=f"{x_letters},{y_letters}->{out}")


def _derived_type(*_: Type, **__: Any) -> Type:
    raise AssertionError("expanded where it is applied")


matmul = register(
    Operation(
        "matmul",
        "x[..., n, k] @ y[k, m] -> [..., n, m].",
        type=_derived_type,
        reference=np.matmul,
        lower=Expansion(_build_matmul),
        arguments={"x": "value", "y": "value"},
        examples=((("f64[3, 4]", "f64[4, 5]"), {}), (("f64[batch, 4]", "f64[4, 5]"), {})),
    )
)


def _build_outer(x: Value, y: Value) -> Value:
    if len(x.type.sample) != 1 or len(y.type.sample) != 1:
        raise Mismatch("outer takes two vectors")
    left, right = "B" * x.type.lead + "i", "B" * y.type.lead + "j"
    return apply("einsum", x, y, subscripts=f"{left},{right}->{'Bij' if 'B' in left + right else 'ij'}")


outer = register(
    Operation(
        "outer",
        "x[n], y[m] -> [n, m]: the product of each element of x with each element of y.",
        type=_derived_type,
        reference=np.outer,
        lower=Expansion(_build_outer),
        arguments={"x": "value", "y": "value"},
        examples=((("f64[3]", "f64[4]"), {}),),
    )
)
