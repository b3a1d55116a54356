"""Panels: a weight in the order in which the tiles of a product read it, and the product of rows and such a weight.

    [depth, columns]    ->    [columns / 32, depth, 32]          in f32 and f64
                              [columns / 32, depth / 2, 2, 32]   if both operands are rounded to bf16

A product of a few rows reads all of a weight. The rows of a panel follow one another, so that the CPU fetches them
ahead and needs a page for every 32 of them, not for each. In bf16, two rows are stored as pairs (`paired`), which a
product would copy the weight into.
"""

from string import ascii_letters

from netc.compiler.ir.types import fixed_size
from netc.compiler.ir.value import Value, apply, viewed
from netc.compiler.operations.elementwise import as_bf16
from netc.compiler.operations.linear import Subscripts

_PANEL = 32  # columns: two vectors of the widest registers in f32
_LARGE = 1 << 18  # elements of a weight that the second cache does not hold


def panels_for(product: Value, n: int, weight: Value) -> Value | None:
    """Returns panels of `weight` [depth, columns], if a product reads them faster in place of its operand n.

    In f32 and f64 that pays for large weights. A product of pairs copies all weights that are not in pairs.
    """
    inputs, _, out = product.attributes_as(Subscripts).subscripts.partition("->")
    depth, columns = weight.type.dims
    if not isinstance(depth, int) or not isinstance(columns, int) or inputs.count(out[-1]) != 1:
        return None
    if not (_is_rounded(product.operands[1 - n]) and _is_rounded(weight)):
        return _panels(weight, in_pairs=False) if depth * columns >= _LARGE else None
    (summed,) = set(inputs.split(",")[n]) - {out[-1]}
    is_even = depth % 2 == 0 and inputs.count(summed) == 2 and summed not in out
    return _panels(weight, in_pairs=True) if is_even and columns >= _PANEL else None


def _is_rounded(value: Value) -> bool:
    """Whether a value consists of numbers that are rounded to bf16."""
    return viewed(value).definition is as_bf16


def _panels(weight: Value, in_pairs: bool) -> Value:
    """Returns the panels of a weight, with zeros behind the last columns."""
    depth, columns = (fixed_size(dim) for dim in weight.type.dims)
    if rest := -columns % _PANEL:
        weight = apply("pad", weight, axes=(1,), before=(0,), after=(rest,), step=(1,))
    number = -(-columns // _PANEL)
    if in_pairs:
        rows = apply("reshape", weight, dims=(depth // 2, 2, number, _PANEL))
        return apply("paired", apply("transpose", rows, order=(2, 0, 1, 3)))
    panels = apply("reshape", weight, dims=(depth, number, _PANEL))
    return apply("copied", apply("transpose", panels, order=(1, 0, 2)))


def product_of_panels(product: Value, n: int, factors: list[Value]) -> Value:
    """Returns a product of `factors`, of which the one at n is panels, in the shape of `product`."""
    inputs, _, out = product.attributes_as(Subscripts).subscripts.partition("->")
    parts, panels = inputs.split(","), factors[n]
    panel, pair = [letter for letter in ascii_letters if letter not in inputs][:2]
    column, factors = out[-1], list(factors)
    depth = parts[n].replace(column, "")
    if panels.type.rank == 4:  # rows in pairs
        other = 1 - n
        axis, dims = parts[other].index(depth), factors[other].type.dims
        pairs = (fixed_size(dims[axis]) // 2, 2)
        factors[other] = apply("reshape", factors[other], dims=(*dims[:axis], *pairs, *dims[axis + 1 :]))
        parts[other] = parts[other].replace(depth, depth + pair)
        depth += pair
    parts[n] = panel + depth + column
    result = apply("einsum", *factors, subscripts=f"{','.join(parts)}->{out[:-1]}{panel}{column}")
    all_columns = fixed_size(panels.type.dims[0]) * _PANEL
    rows = apply("reshape", result, dims=(*product.type.dims[:-1], all_columns))
    return apply("slice", rows, axis=rows.type.rank - 1, start=0, stop=product.type.dims[-1])
