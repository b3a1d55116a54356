"""Reads inputs that are kept as bytes: the bytes times a factor, which fuses into the loop that gathers them."""

from collections.abc import Collection

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.passes.simplify import rebuild


def as_bytes(graph: Graph, names: Collection[str]) -> Graph:
    """The graph with the named inputs and targets of type u8; the runtime gives `scale.NAME` beside each."""
    if not names:
        return graph

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        name = value.name
        if value.role not in (Role.INPUT, Role.TARGET) or name not in names:
            return copy.add_copy(value, operands)
        raw = copy.add_copy(value, (), type_=Type("u8", value.type.dims))
        factor = copy.leaf(Role.GIVEN, str(SuppliedKind.SCALE.named(name)), Type(value.type.dtype))
        return apply("cast", raw, dtype=value.type.dtype) * factor

    return rebuild(graph, rule)
