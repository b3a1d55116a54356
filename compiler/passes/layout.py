"""Which values are written straight into a buffer with a border, because a convolution will want them padded.

A value that is padded later, and read for itself too, lies inside of its padded form: its producer writes there, all others read it there with the wider
rows' strides, and nothing is copied. Where that is not possible (a view, an input, two borders), the pad is a kernel of its own, which
`netc explain` and `netc profile` show.
"""

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import OPERATIONS, Scalar, Value
from netc.compiler.operations.pooling import Interleave
from netc.compiler.operations.shape import Pad
from netc.compiler.passes.fuse import Fusion


def borders(graph: Graph, fusion: Fusion) -> dict[Value, Value]:
    """For each value that is to have a border from the start, its padded form."""
    roots, found = set(graph.results.values()), dict[Value, Value]()
    for padded in graph.values("pad"):
        (value,) = padded.operands
        step = padded.attributes_as(Pad).step
        if value in found or value in roots or padded in roots or any(apart != 1 for apart in step):
            continue
        if value.type.is_batched and value in fusion.unit_of and _writes_anywhere(value):
            found[value] = padded
    return found


def _writes_anywhere(value: Value) -> bool:
    """Whether the value's kernel can write rows that are apart."""
    return (
        value.role is Role.CONTRACTION
        or isinstance(value.attributes, Interleave)
        or isinstance(OPERATIONS[value.operation].lower, Scalar)
    )
