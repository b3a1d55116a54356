"""The comparisons of a model's losses: what the losses of the library take as prediction and as label."""

from collections.abc import Iterator

from netc.compiler.elaborate.context import Context
from netc.compiler.ir.graph import needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.value import Value
from netc.compiler.model import Comparison
from netc.compiler.operations.shape import broadcast, reshape

SYMMETRIC = ("mse", "mae", "huber")  # losses to which prediction and label are the same
_LOSSES = (*SYMMETRIC, "cross_entropy", "binary_cross_entropy", "nll", "hinge", "pinball")


def source_of(value: Value) -> Value:
    """The value that this one is reshaped or broadcast from."""
    while value.definition in (reshape, broadcast):
        value = value.operands[0]
    return value


def comparisons_of(context: Context) -> Iterator[Comparison]:
    """The comparisons that some loss needs, in order. Symmetric losses give two, one for each order."""
    needed = needed_by(context.graph.results_of(ResultKind.LOSS).values())
    for applied in context.applied:
        if applied.is_builtin and applied.name in _LOSSES and applied.result in needed and len(applied.operands) > 1:
            (first, second), (first_span, second_span) = applied.operands[:2], applied.spans[:2]
            yield Comparison(applied.name, first, second, second_span, applied.span)
            if applied.name in SYMMETRIC:
                yield Comparison(applied.name, second, first, first_span, applied.span)
