"""What a graph costs: floating-point operations of a step, from the operations' own figures."""

from netc.compiler.graph import Graph
from netc.compiler.operations.linear import einsum_flops
from netc.compiler.value import OPERATIONS, Fold, Scalar


def flops(graph: Graph, batch: int) -> int:
    """FLOPs of all values for a batch; a multiply-add counts two, moving elements none."""
    total = 0
    for value in graph.values():
        if not value.operands:
            continue
        operation = OPERATIONS[value.operation]
        if value.operation == "einsum":
            x, y = (operand.type for operand in value.operands)
            total += einsum_flops(value.type, x, y, str(value.attributes["subscripts"]), batch)
        elif isinstance(operation.lower, Scalar) and operation.flops is not None:
            total += operation.flops(value.type) * value.type.size(batch)
        elif isinstance(operation.lower, Fold):
            total += value.operands[0].type.size(batch)
    return total
