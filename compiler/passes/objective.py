"""The objective of training: each loss as a sum divided by a count, the sum of all losses, and their gradients.

A loss is the sum of its elements over the batch, divided by their number or by the sum of its weights. With
`accumulate`, sums and counts are added up over several batches before they are divided. A loss that is one number for
a batch (a variance over it) then counts as often as the batch has samples, and a loss that depends on no data (a
penalty) counts once a step. A loss with a `loss_scale` is multiplied by the value of its schedule at each step.

A loss whose weights add up to 0 is 0 in that step, with gradients of 0.
"""

import math
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from netc.compiler.ir.attributes import Dims
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.ir.types import BATCH, Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.reduce import extent
from netc.compiler.passes.differentiate import differentiate

ACCUMULATED = "accumulated."
_WEIGHTS = "weights of "
_A_STEP, _A_BATCH = " a step", " a batch"  # endings of groups whose losses have no row for each sample


class Term(Struct, frozen=True):
    """One loss: training minimises `total / count`, times `factor`.

    Terms of one `group` share their count. `samples` is the number of samples of the batch if the loss is one number
    for the batch.
    """

    name: str
    group: str
    total: Value
    count: Value
    factor: Value | None
    samples: Value | None

    def scaled(self, value: Value) -> Value:
        return value if self.factor is None else value * self.factor


def _divisor(group: str, count: Value) -> Value:
    """The count that the sums of a group are divided by. Weights that add up to 0 become infinite: the quotient of any
    sum is 0 then, and so is its gradient."""
    if not group.startswith(_WEIGHTS):
        return count
    nothing = apply("equal", count, count.graph.constant(0.0, count.type))
    return apply("where", nothing, count.graph.constant(math.inf, count.type), count)


def _is_counted_by_samples(group: str) -> bool:
    """Whether a batch weighs as much as it has samples: each has as many elements, or the batch has a single number."""
    return group.endswith((f" a row of {BATCH}", _A_BATCH, _A_STEP))


def _samples(loss: Value) -> Value | None:
    """Returns the number of samples for a loss that has no row for each sample but depends on data, else None."""
    if any(value.role in (Role.INPUT, Role.TARGET) for value in needed_by([loss])):
        return loss.graph.add("extent", (), Dims((BATCH,)), Type(loss.type.dtype))
    return None


def _sum(value: Value) -> Value:
    return apply("sum", value, over=tuple(range(value.type.rank))) if value.type.rank else value


def terms(graph: Graph, moved: Collection[str] = ()) -> list[Term]:
    """Returns the losses among the graph's results; those named in `moved` have a factor.

    A group contains the losses with the same number of elements for each sample, batch or step; each weighted loss is
    a group.
    """
    losses = []
    for name, loss in graph.results_of(ResultKind.LOSS).items():
        weight = graph.weight_of(ResultKind.LOSS.named(name))
        with graph.at(loss.span):
            total = _sum(loss)
            count = extent(loss, tuple(range(loss.type.rank))) if weight is None else _sum(weight)
            samples = None if loss.type.is_batched or weight is not None else _samples(loss)
            per = f" a row of {loss.type.rows}" if loss.type.is_batched else _A_STEP if samples is None else _A_BATCH
            group = f"{loss.type.size(1)}{per}" if weight is None else f"{_WEIGHTS}{name}"
            factor = _factor(graph, loss, name) if name in moved else None
            losses.append(Term(name, group, total, count, factor, samples))
    return losses


def _factor(graph: Graph, loss: Value, name: str) -> Value:
    scheduled = graph.leaf(Role.GIVEN, str(SuppliedKind.LOSS_FACTOR.named(name)), Type("f64"), per="step")
    return apply("cast", scheduled, dtype=loss.type.dtype)


def total_loss(graph: Graph, moved: Collection[str] = ()) -> Value:
    """Adds each loss as the result `total.NAME` (and `count.NAME` unless samples are counted), and their sum as
    `total`.

    Returns the value that training minimises: the sum with the losses named in `moved` times their factors.
    """
    total: Value | None = None
    scaled: Value | None = None
    for term in terms(graph, moved):
        with graph.at(term.total.span):
            mean = term.total / _divisor(term.group, term.count)
            graph.results[ResultKind.TOTAL.named(term.name)] = mean
            if not _is_counted_by_samples(term.group):
                graph.results[ResultKind.COUNT.named(term.name)] = term.count
            total = mean if total is None else total + mean
            scaled = term.scaled(mean) if scaled is None else scaled + term.scaled(mean)
    assert total is not None
    assert scaled is not None
    graph.results[ResultKind.TOTAL.named()] = total
    return scaled if moved else total


def gradients_of_sums(
    graph: Graph, parameters: Sequence[Value], moved: Collection[str]
) -> dict[str, tuple[Value, dict[Value, Value]]]:
    """Returns for each group the count that divides the sums of its losses, and the gradients of these sums."""
    by_group: dict[str, tuple[Value, dict[Value, Value]]] = {}
    losses = terms(graph, moved)
    for group in dict.fromkeys(term.group for term in losses):
        members = [term for term in losses if term.group == group]
        total = members[0].scaled(members[0].total)
        for term in members[1:]:
            total = total + term.scaled(term.total)
        count, samples = members[0].count, members[0].samples
        if samples is not None:
            total, count = total * samples, count * samples
        by_group[group] = (count, differentiate(graph, total, parameters))
    return by_group


def _leaf(graph: Graph, group: str, like: Value | None, type_: Type) -> Value:
    return graph.leaf(Role.STATE, f"{ACCUMULATED}{group}" + (f".{like.name}" if like else ""), type_)


def accumulate(graph: Graph, parameters: Sequence[Value], moved: Collection[str]) -> None:
    """Adds the gradients of sums and the counts of this batch to those of earlier batches, which are kept as states."""
    for group, (count, gradients) in gradients_of_sums(graph, parameters, moved).items():
        if group.endswith(_A_STEP):
            continue  # computed in the last batch alone: no parameter changes before it
        for like, value in ((None, count), *gradients.items()):
            state = _leaf(graph, group, like, value.type)
            graph.results[ResultKind.UPDATE.named(state.name)] = state + value


def accumulated_gradients(graph: Graph, parameters: Sequence[Value], moved: Collection[str]) -> Mapping[Value, Value]:
    """Returns the gradients of the total loss over this batch and the accumulated ones; sets the states back to 0."""
    totals: dict[Value, Value] = {}
    for group, (count, gradients) in gradients_of_sums(graph, parameters, moved).items():
        if not group.endswith(_A_STEP):
            state = _leaf(graph, group, None, count.type)
            graph.results[ResultKind.UPDATE.named(state.name)] = graph.constant(0.0, count.type)
            count = count + state
        count = _divisor(group, count)
        for parameter, gradient in gradients.items():
            if not group.endswith(_A_STEP):
                state = _leaf(graph, group, parameter, gradient.type)
                zero = graph.constant(0.0, gradient.type)
                is_scalar = not gradient.type.dims
                graph.results[ResultKind.UPDATE.named(state.name)] = (
                    zero if is_scalar else apply("broadcast", zero, dims=gradient.type.dims)
                )
                gradient = gradient + state
            part = gradient / count
            totals[parameter] = totals[parameter] + part if parameter in totals else part
    return totals
