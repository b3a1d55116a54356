"""Writes how a fold's total is joined with the values of several points, in pairs, so that few operations wait for each
other. Knows no loops.
"""

from collections.abc import Sequence

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import GROUP, Output


def added_to(total: str, group: list[str]) -> list[str]:
    """Returns the statements that add the terms of a group of rows to a sum, and empties the group.

    A full group is added up as a tree first; the terms of a part of one are added one by one.
    """
    left = list(group)
    while len(group) == GROUP and len(left) > 1:
        left = [f"({first} + {second})" for first, second in zip(left[::2], left[1::2], strict=True)]
    group.clear()
    return [f"{total} = {total} + {term}" for term in left]


def extreme(fold: Output, keyed: str, total: str, values: Sequence[str]) -> list[str]:
    """Returns the statements that combine a maximum or minimum with values: pairs of neighbours first. `keyed` is "max"
    or "min". The first of equal values remains.

    A comparison alone ignores NaN, so the values are tested for NaN separately: one instruction for two values. A
    total that is NaN stays NaN, because no comparison with it is true.
    """
    dtype, sign = fold.target.dtype, {"max": ">", "min": "<"}[keyed]
    lines, left = list[str](), list(values)
    while len(left) > 1:
        pairs = list(zip(left[::2], left[1::2], strict=False))
        odd, left = left[2 * len(pairs) :], list[str]()
        for first, second in pairs:
            left.append(f"{total}_{len(lines)}")
            lines.append(f"{left[-1]} = {second} if {second} {sign} {first} else {first}")
        left += odd
    lines.append(f"{total} = {left[0]} if {left[0]} {sign} {total} else {total}")
    is_nan = " | ".join(f"({value} != {value})" for value in values)
    return [*lines, f"{total} = {DTYPES[dtype].conversion}(NAN) if {is_nan} else {total}"]
