"""Replaces textbook formulas by equal ones that are computed without overflow or cancellation.

Runs on the forward graph, before `differentiate`, so that gradients are those of the stable forms. A table of
patterns: each takes the new operands of a value and gives the stable value, or None where it does not apply.
"""

from collections.abc import Callable

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.derivative import passes_by, variables
from netc.compiler.operations.functions import exp
from netc.compiler.passes.simplify import is_constant, rebuild


def _log(x: Value) -> Value | None:
    """log softmax and log sigmoid underflow to log 0; log(1 + exp x) overflows; log(1 + x) loses a small x."""
    match x.operation, x.operands:
        case "softmax", (logits,):
            return apply("log_softmax", logits, over=x.attributes_as(Over).over)
        case "sigmoid", (logit,):
            return -apply("softplus", -logit)
        case "add", (x1, x2):
            for left, right in ((x1, x2), (x2, x1)):
                if is_constant(left, 1.0) and right.type.dims == x.type.dims:
                    is_power = right.definition is exp
                    return apply("softplus", right.operands[0]) if is_power else apply("log1p", right)
        case "subtract", (left, Value(operation="sigmoid", operands=(logit,)) as right):
            if is_constant(left, 1.0) and right.type.dims == x.type.dims:
                return -apply("softplus", logit)
    return None


def _subtract(x: Value, y: Value) -> Value | None:
    """exp(x) - 1 loses a small x."""
    is_power = x.definition is exp and is_constant(y, 1.0) and y.type.rank <= x.type.rank
    return apply("expm1", x.operands[0]) if is_power else None


PATTERNS: dict[str, Callable[..., Value | None]] = {"log": _log, "subtract": _subtract}


def stabilise(graph: Graph) -> Graph:
    """One walk from the leaves; a value that matches its operation's pattern becomes the stable form."""

    kept, copies_kept = variables(graph), set[Value]()

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        pattern = PATTERNS.get(value.operation)
        stable = pattern(*operands) if pattern else None
        if stable is None or stable.type != value.type or passes_by(copies_kept, operands, stable):
            stable = copy.add_copy(value, operands)
        if value in kept:
            copies_kept.add(stable)
        return stable

    return rebuild(graph, rule)
