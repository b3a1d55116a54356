"""Decides which values are written straight into a buffer with padding, because a convolution reads them padded.

Such a value lies inside of its padded form: its producer writes it there, other users read it there with the strides
of the wider rows, and nothing is copied. Where that is not possible (a view, an input, two different paddings), the
pad is a kernel of its own, which `netc explain` and `netc profile` show.
"""

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import OPERATIONS, Scalar, Value
from netc.compiler.lowering.fuse import Fusion
from netc.compiler.operations.pooling import Interleave
from netc.compiler.operations.shape import Pad


def borders(graph: Graph, fusion: Fusion) -> dict[Value, Value]:
    """Returns the padded form of each value that is written with its padding from the start."""
    roots, padded_forms = set(graph.results.values()), dict[Value, Value]()
    for padded in graph.values("pad"):
        (value,) = padded.operands
        step = padded.attributes_as(Pad).step
        if value in padded_forms or value in roots or padded in roots or any(apart != 1 for apart in step):
            continue
        if value.type.is_batched and value in fusion.unit_of and _writes_anywhere(value):
            padded_forms[value] = padded
    return padded_forms


def _writes_anywhere(value: Value) -> bool:
    """Whether the kernel of a value can write rows that are not contiguous."""
    return (
        value.role is Role.CONTRACTION
        or isinstance(value.attributes, Interleave)
        or isinstance(OPERATIONS[value.operation].lower, Scalar)
    )
