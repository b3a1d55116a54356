"""Numbers that follow from sizes and constants alone, such as 1 / (number of samples).

The loops that read such a number compute it, so that none waits for another to store it. A kernel takes the sizes as
arguments. Knows no loop.
"""

from collections.abc import Container, Mapping, Sequence

from netc.compiler.ir.attributes import Dims
from netc.compiler.ir.forms import Fold, Scalar, View
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.passes.recompute import MOST_STEPS
from netc.compiler.passes.sink import is_scalar, steps_of
from netc.compiler.program.schedule import Count


def computed_from_sizes(graph: Graph) -> list[Value]:
    """Returns the values whose elements are all one number that follows from sizes by a few cheap operations, and the
    views of such values.
    """
    steps: dict[Value, int] = {}
    for value in graph.values():
        if value.role is Role.EXTENT:
            steps[value] = 0
        elif _follows(value, steps):
            count = (steps_of(value) if is_scalar(value) else 0) + sum(steps.get(x, 0) for x in value.operands)
            if count <= MOST_STEPS:
                steps[value] = count
    return list(steps)


def only_loops_read(
    values: Sequence[Value], users: Mapping[Value, Sequence[Value]], roots: Container[Value], starts: Container[Value]
) -> set[Value]:
    """Returns the values among `values` that only loops read, directly or through others of them. They need no memory.

    The values come in the order of the graph. `roots` are the results of the graph, which are stored. `starts` are the
    sums that a register tile begins with: it reads their terms from memory.
    """
    chosen = set[Value]()
    for value in reversed(values):
        if value not in roots and all(user in chosen or _is_loop(user, starts) for user in users[value]):
            chosen.add(value)
    return chosen


def _follows(value: Value, earlier: Container[Value]) -> bool:
    """Whether a value is element-wise or a view, and reads earlier values (one at least) and constants alone."""
    operands = value.operands
    return (
        any(operand in earlier for operand in operands)
        and isinstance(value.lower, Scalar | View)
        and all(operand in earlier or behind_shapes(operand).role is Role.CONSTANT for operand in operands)
    )


def behind_shapes(value: Value) -> Value:
    """Returns the value that is broadcast or reshaped, such as a constant."""
    while value.role is Role.SHAPE and value.operands:
        value = value.operands[0]
    return value


def _is_loop(user: Value, starts: Container[Value]) -> bool:
    """Whether a loop over points computes a value."""
    return isinstance(user.lower, Scalar | Fold) and user not in starts


def count_of(extent: Value) -> Count:
    """Returns the number of elements that the dimensions of an `extent` hold."""
    dims, factor = extent.attributes_as(Dims).dims, 1
    for dim in dims:
        factor *= dim if isinstance(dim, int) else 1
    return Count(factor, next((dim for dim in dims if isinstance(dim, str)), "one"))
