"""The parts that scans and inner scans have in common: their statements, their range and their sequences."""

from collections.abc import Sequence
from typing import Any

from netc.compiler.elaborate import constants
from netc.compiler.elaborate.bindings import Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import constant
from netc.compiler.elaborate.statements import assigned
from netc.compiler.ir.types import BATCH, describe_sample
from netc.compiler.ir.value import Value, apply
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault


def checked_body(node: syntax.Scan) -> tuple[Any, ...]:
    """The body's statements. Raises E0103 unless the last one yields and each carry is assigned."""
    *statements, last = node.body or (None,)
    if not isinstance(last, syntax.Yield):
        fault("E0103", "a scan ends with `yield`", node.span, hint="yield h")
    names = {name.text for statement in statements for name in assigned(statement)}
    for carry in node.carries:
        if carry.name.text not in names:
            note = f"`{carry.name.text}` would be the same at every step"
            fault(
                "E0103",
                f"the carry `{carry.name.text}` is never assigned",
                carry.span,
                note,
                hint=f"{carry.name.text} = ...",
            )
    return (*statements, last)


def range_bounds(context: Context, over: syntax.Range, scope: Scope) -> tuple[int, int]:
    """The first number that a scan counts, and the one after its last. Raises E0404 if there is none between."""
    start, stop = (
        constants.integer(constant(context, bound, scope), bound.span, "a bound of a scan", least=-(10**9))
        for bound in (over.start, over.stop)
    )
    if stop <= start:
        fault("E0404", "a scan over nothing", over.span, f"from {start} to {stop}")
    return start, stop


def check_walked(
    context: Context, node: syntax.Scan, nodes: Sequence[syntax.Expression], values: Sequence[Value]
) -> None:
    """Raises a Fault unless the values are sequences of the same number of steps, with a name for each."""
    if len(values) != len(node.names):
        fault("E0301", f"{len(node.names)} names for {len(values)} sequences", node.names[-1].span)
    for operand, value in zip(nodes, values, strict=True):
        if not value.type.sample:
            fault("E0401", "a scan takes sequences", operand.span, f"this is {describe_sample(value.type)}")
    first = values[0].type.sample[0]
    for operand, value in zip(nodes, values, strict=True):
        if value.type.sample[0] != first:
            fault(
                "E0406",
                "sequences that a scan takes together have the same number of steps",
                operand.span,
                f"this is {describe_sample(value.type)}",
                others=[
                    Label(nodes[0].span, describe_sample(values[0].type)),
                    *context.origins((values[0], value), operand.span),
                ],
                hint=f"one name for both dimensions says that they are equal: {first}"
                if isinstance(first, str)
                else None,
            )


def batched(value: Value) -> Value:
    """The value with a batch, along which it is repeated if it is the same for all samples."""
    return value if value.type.is_batched else apply("broadcast", value, dims=(BATCH, *value.type.dims))
