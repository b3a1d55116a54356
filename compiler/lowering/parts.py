"""Parts of a `concat` that their producer writes side by side, so that nothing is copied.

They are the gradients of queries, keys and values whose projection is one product: the kernel of attention writes rows
with any strides.
"""

from collections.abc import Iterator

from netc.compiler.ir.attributes import Axis
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.strides import contiguous
from netc.compiler.ir.types import fixed_size
from netc.compiler.ir.value import Value
from netc.compiler.lowering.units import Fusion
from netc.compiler.operations.attention import attend_gradient
from netc.compiler.operations.shape import concat, reshape
from netc.compiler.program.tasks import StridedView

Part = tuple[Value, StridedView]  # the value put together, and the view of a part of it; its buffer is not set


def parts(graph: Graph, fusion: Fusion) -> dict[Value, Part]:
    """Returns the part that each value is written as from the start, for values that nothing else reads."""
    roots, result = set(graph.results.values()), dict[Value, Part]()
    for joined in graph.values(concat):
        views = list(_views(joined, fusion))
        sources = [source for source, _ in views]
        is_stored = joined in fusion.unit_of and not roots.intersection([joined, *joined.operands, *sources])
        if is_stored and len(views) == len(joined.operands) == len({*sources}):
            result |= {source: (joined, view) for source, view in views}
    return result


def _views(joined: Value, fusion: Fusion) -> Iterator[tuple[Value, StridedView]]:
    """Yields the gradients of attention that only a `concat` along the last axis reads, and where it puts them."""
    dims, start = joined.type.dims, 0
    for operand in joined.operands:
        (source,) = operand.operands if operand.definition is reshape else (operand,)
        *outer, _, width = source.type.dims if len(source.type.dims) > 1 else (1, 1)
        is_read_once = len(fusion.users[operand]) == len(fusion.users[source]) == 1
        is_along = joined.attributes_as(Axis).axis == len(dims) - 1 and tuple(outer) == dims[:-1]
        if source.definition is attend_gradient and is_read_once and is_along:
            strides = (*contiguous(dims)[:-1], fixed_size(width), 1)
            yield source, StridedView(None, strides, start)
        start += fixed_size(operand.type.dims[-1])
