"""`grad(y, x)`: a derivative as a value of the model. passes/prepare.py replaces it by the values that compute it."""

from collections.abc import Iterable, Set
from typing import Any

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.forms import Replaced
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Operation, Value, register


def _no_reference(*_: Any, **__: Any) -> Any:
    raise AssertionError("a derivative is replaced before anything is computed")


register(
    Operation(
        "grad",
        "The derivative of y, one number per sample, with respect to x.",
        role=Role.DERIVATIVE,
        attributes=Attributes,
        type=lambda y, x: Type(x.dtype, x.dims),
        reference=_no_reference,
        lower=Replaced(),
        is_callable=False,
    )
)


def variables(graph: Graph) -> set[Value]:
    """The values with respect to which derivatives of the graph are taken that are not yet written out.

    A pass that runs before they are keeps each of them apart: it neither merges it with an equal value nor computes
    what depends on it without it.
    """
    return {value.operands[1] for value in graph.values(Role.DERIVATIVE)}


def passes_by(kept: Set[Value], operands: Iterable[Value], replacement: Value) -> bool:
    """Whether a value that replaces an operation on these operands no longer depends on a value of `kept` that they
    depend on."""
    return bool(kept) and not kept.isdisjoint(needed_by(operands) - needed_by([replacement]))
