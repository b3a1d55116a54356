"""Replaces constants of a finished graph by leaves, so that models that differ only in these numbers share a
program."""

import math
from collections import defaultdict
from collections.abc import Callable

from netc.compiler.ir.attributes import Attributes, Constant
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.graph import Body, Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Scan, ScanAttributes, SlotKind, add_leaf
from netc.compiler.passes.simplify import rebuild
from netc.dsl.structs import replace

_COMMON = (0.0, 1.0, -1.0)  # numbers that stay, since other models have the same ones there
_Leaf = Callable[[Graph, float, Type], Value]


def with_supplied_constants(graph: Graph) -> tuple[Graph, dict[str, float]]:
    """Replaces numbers that only element-wise values read by leaves that the runtime supplies.

    Returns the graph and the number of each leaf, by its name. Runs after all passes, which have read the numbers then:
    two models have the same graph only if every pass decided alike for both. A loop reads such a leaf where it had a
    literal and computes with it as before, so the bits stay the same: kernels have no arithmetic that may be reordered.
    """
    numbers: dict[str, float] = {}

    def leaf(copy: Graph, number: float, type_: Type) -> Value:
        name = str(SuppliedKind.CONSTANT.named(len(numbers)))
        numbers[name] = number
        return copy.leaf(Role.GIVEN, name, type_)

    return _with_leaves(graph, leaf), numbers


def _with_leaves(graph: Graph, leaf: _Leaf) -> Graph:
    """The graph with `leaf(copy, number, type)` in place of each number, also in the bodies of scans."""
    replaced = _read_by_loops_alone(graph)

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value in replaced:
            return leaf(copy, value.attributes_as(Constant).value, value.type)
        if value.role is not Role.SCAN:
            return copy.add_copy(value, operands)
        attributes, captured = _opened(value)
        return copy.add_copy(value, [*operands, *(leaf(copy, *constant) for constant in captured)], attributes)

    return rebuild(graph, rule)


def _opened(value: Value) -> tuple[Attributes, list[tuple[float, Type]]]:
    """The attributes of a scan whose body captures numbers from outside, and these with their types, in order."""
    captured: list[tuple[float, Type]] = []
    scan = Scan.of(value)

    def leaf(body: Graph, number: float, type_: Type) -> Value:
        captured.append((number, type_))
        return add_leaf(body, SlotKind.CAPTURED.slot(len(scan.captured) + len(captured) - 1), type_)

    body = _with_leaves(scan.body, leaf)
    return replace(value.attributes_as(ScanAttributes), body=Body(body)), captured


def _read_by_loops_alone(graph: Graph) -> set[Value]:
    """The numbers that element-wise values read, and nothing else, themselves or in another shape."""
    readers: dict[Value, list[Value]] = defaultdict(list)
    for value in graph.values():
        for operand in value.operands:
            readers[operand].append(value)
    results = {*graph.results.values()}

    def is_free(constant: Value) -> bool:
        pending = [constant]
        while pending:
            value = pending.pop()
            if value in results:
                return False
            for reader in readers[value]:
                if reader.role is Role.SHAPE:
                    pending.append(reader)
                elif reader.definition is None or not isinstance(reader.definition.lower, Scalar):
                    return False
        return True

    return {value for value in graph.values(Role.CONSTANT) if _may_differ(value) and is_free(value)}


def _may_differ(constant: Value) -> bool:
    """Whether a number may be another one in a model with the same graph."""
    number = constant.attributes_as(Constant).value
    return constant.type.is_float and math.isfinite(number) and number not in _COMMON
