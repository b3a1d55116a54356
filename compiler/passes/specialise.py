"""Specialises a graph for training or inference: `training` becomes a constant; values of the other use are dropped.

The share of a batch (`batch_share()`) is known only in training. For inference it is 1, so that a prediction does not
depend on the other samples of its batch.
"""

from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Scan, slot_of
from netc.compiler.passes.scans import trimmed, with_body
from netc.compiler.passes.simplify import rebuild, simplify


def specialise(graph: Graph, training: bool) -> Graph:
    """Returns a copy in which `training` is a constant, in the bodies of scans too.

    Runs first, before `differentiate`.
    """
    if not graph.values(Role.TRAINING) and not any(map(_is_share, graph.values(Role.GIVEN))):
        return graph

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is Role.TRAINING:
            return copy.add("constant", (), Constant(training), value.type)
        if _is_share(value) and not training:
            return copy.add("constant", (), Constant(1.0), value.type)
        return copy.add_copy(value, operands, with_body(value, lambda _: simplify(_with_constants(value, operands))))

    return simplify(trimmed(rebuild(graph, rule)))


def _is_share(value: Value) -> bool:
    return value.role is Role.GIVEN and value.name == str(SuppliedKind.BATCH_SHARE.named())


def _with_constants(value: Value, operands: list[Value]) -> Graph:
    """Returns the body of a scan; leaves whose operand outside is a constant become that constant."""
    original = Scan.of(value)
    outside = dict(zip(original.operand_of(), operands, strict=True))

    def rule(copy: Graph, leaf: Value, parts: list[Value]) -> Value:
        slot = slot_of(leaf)
        outer = outside.get(slot) if slot is not None else None
        if outer is not None and outer.role is Role.CONSTANT:
            return copy.add_copy(outer, ())
        return copy.add_copy(leaf, parts)

    return rebuild(original.body, rule)
