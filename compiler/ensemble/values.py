"""Values of an ensemble's graph that are computed once: means of members' values, and what follows from these."""

from collections.abc import Mapping, Sequence

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply


class Tail:
    """Values of an ensemble that follow from means, computed once: copies of a member's values with other operands.

    `graph` is the ensemble's graph and `source` the member's. `available` has the ensemble's values by those of the
    member that they replace, and `leaves` what replaces the member's leaves.
    """

    def __init__(
        self, graph: Graph, source: Graph, available: Mapping[Value, Value], leaves: Mapping[Value, Value]
    ) -> None:
        self.graph, self.source, self.available, self.leaves = graph, source, available, leaves
        self.copies: dict[Value, Value] = {}

    def value(self, result: Value) -> Value:
        """The value that stands for one of the member."""
        needed, waiting = {result}, [result]
        while waiting:
            current = waiting.pop()
            fresh = [] if current in self.available else [each for each in current.operands if each not in needed]
            needed.update(fresh)
            waiting += fresh
        for value in self.source.values():
            if value in needed and value not in self.copies:
                self.copies[value] = self._copy(value)
        return self.copies[result]

    def _copy(self, value: Value) -> Value:
        if value in self.available:
            return _of_type(self.available[value], value.type)
        if not value.operands:
            return _of_type(self.leaves[value], value.type)
        with self.graph.at(value.span):
            return self.graph.add_copy(value, [self.copies[operand] for operand in value.operands])


def _of_type(value: Value, type_: Type) -> Value:
    """The same numbers, as the element type that a copied operation takes."""
    return value if value.type.dtype == type_.dtype else apply("cast", value, dtype=type_.dtype)


def mean_of(values: Sequence[Value]) -> Value:
    """The sum in the order of the members, divided by their number."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total / float(len(values))


def log_of_sum(logarithms: Sequence[Value]) -> Value:
    """log(exp(a) + exp(b) + ...) of the operands a, b, ..., without overflow."""
    total = logarithms[0]
    for value in logarithms[1:]:
        total = apply("maximum", total, value) + apply("softplus", -apply("abs", value - total))
    return total
