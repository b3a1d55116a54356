"""Finds the values of a graph that are computed alike: an expression that is written twice is one value."""

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value


def unified(graph: Graph) -> dict[Value, Value]:
    """Maps each value to the first that is computed alike: an expression that is written twice is one value."""
    first: dict[Value, Value] = {}
    by_key: dict[object, Value] = {}
    for value in graph.values():
        operands = tuple(first[operand].number for operand in value.operands)
        is_single = value.role in (Role.RANDOM, Role.SCAN)
        key = (value.operation, value.attributes, operands, value.type, value.number if is_single else None)
        first[value] = by_key.setdefault(key, value)
    return first
