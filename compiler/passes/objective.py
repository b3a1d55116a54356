"""What training makes small: each loss as a sum over a count, all of them added up, and their gradients, at once or batch after batch.

A loss is its sum over all elements of the batch over their number, or over the sum of its weights. Sums and counts can be added up over several batches
before they are divided (`accumulate`). Then a figure of the whole batch (a variance over it) counts as often as the batch has samples, and a loss that
depends on no data (a penalty) once a step. A loss of `loss_scale` is multiplied by what a schedule gives for each step.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.reduce import extent
from netc.compiler.passes.differentiate import differentiate

ACCUMULATED = "accumulated."
LOSS_FACTOR = "train.loss_factor."  # and a loss: what a schedule makes of it, a number a step, given by the runtime
_WEIGHTS = "weights of "
_A_STEP, _A_BATCH = " a step", " a batch"  # how a group's name ends, of losses that have no row for each sample


@dataclass(frozen=True, slots=True)
class Term:
    """One loss: `total / count`, times `factor`, is what training makes small. Terms of one `group` share their count. `samples` is how many the batch
    has, where the loss is a figure of the whole batch."""

    name: str
    group: str
    total: Value
    count: Value
    factor: Value | None
    samples: Value | None

    def scaled(self, value: Value) -> Value:
        return value if self.factor is None else value * self.factor


def _is_counted_by_samples(group: str) -> bool:
    """Whether the batch's size says how much a batch's loss counts among those of others: its losses have as many elements in every sample, or one for all."""
    return group.endswith((f" a row of {BATCH}", _A_BATCH, _A_STEP))


def _samples(loss: Value) -> Value | None:
    """How many samples there are, if a loss without a row for each depends on data."""
    if any(value.role in (Role.INPUT, Role.TARGET) for value in needed_by([loss])):
        return loss.graph.add("extent", (), {"dims": (BATCH,)}, Type(loss.type.dtype))
    return None


def _sum(value: Value) -> Value:
    return apply("sum", value, over=tuple(range(value.type.rank))) if value.type.rank else value


def terms(graph: Graph, moved: Collection[str] = ()) -> list[Term]:
    """The losses among the graph's results, those of `moved` with a factor. A group has losses of as many elements a sample, a batch or a step; weighted
    losses have one each."""
    found = []
    for result, loss in list(graph.results.items()):
        if not result.startswith("loss."):
            continue
        name, weight = result.removeprefix("loss."), graph.results.get(f"weight.{result}")
        with graph.at(loss.span):
            total = _sum(loss)
            count = extent(loss, tuple(range(loss.type.rank))) if weight is None else _sum(weight)
            samples = None if loss.type.is_batched or weight is not None else _samples(loss)
            per = f" a row of {loss.type.rows}" if loss.type.is_batched else _A_STEP if samples is None else _A_BATCH
            group = f"{loss.type.size(1)}{per}" if weight is None else f"{_WEIGHTS}{name}"
            factor = _factor(graph, loss, name) if name in moved else None
            found.append(Term(name, group, total, count, factor, samples))
    return found


def _factor(graph: Graph, loss: Value, name: str) -> Value:
    given = graph.add("given", (), {"name": f"{LOSS_FACTOR}{name}", "per": "step"}, Type("f64"))
    return apply("cast", given, dtype=loss.type.dtype)


def total_loss(graph: Graph, moved: Collection[str] = ()) -> Value:
    """Each loss by itself, as `total.NAME` (and `count.NAME` where that is no number a sample), and all added up, as `total`. Gives what training makes small:
    the same with those of `moved` times their factors."""
    total: Value | None = None
    scaled: Value | None = None
    for term in terms(graph, moved):
        with graph.at(term.total.span):
            mean = term.total / term.count
            graph.results[f"total.{term.name}"] = mean
            if not _is_counted_by_samples(term.group):
                graph.results[f"count.{term.name}"] = term.count
            total = mean if total is None else total + mean
            scaled = term.scaled(mean) if scaled is None else scaled + term.scaled(mean)
    assert total is not None
    assert scaled is not None
    graph.results["total"] = total
    return scaled if moved else total


def gradients_of_sums(
    graph: Graph, wanted: Sequence[Value], moved: Collection[str]
) -> dict[str, tuple[Value, dict[Value, Value]]]:
    """By group: what the sums of its losses are divided by, and the gradients of these sums."""
    found: dict[str, tuple[Value, dict[Value, Value]]] = {}
    found_terms = terms(graph, moved)
    for group in dict.fromkeys(term.group for term in found_terms):
        members = [term for term in found_terms if term.group == group]
        total = members[0].scaled(members[0].total)
        for term in members[1:]:
            total = total + term.scaled(term.total)
        count, samples = members[0].count, members[0].samples
        if samples is not None:
            total, count = total * samples, count * samples
        found[group] = (count, differentiate(graph, total, wanted))
    return found


def _leaf(graph: Graph, group: str, like: Value | None, type_: Type) -> Value:
    return graph.leaf("state", f"{ACCUMULATED}{group}" + (f".{like.name}" if like else ""), type_)


def accumulate(graph: Graph, wanted: Sequence[Value], moved: Collection[str]) -> None:
    """Add the sums and counts of this batch to those of the batches before, as states."""
    for group, (count, gradients) in gradients_of_sums(graph, wanted, moved).items():
        if group.endswith(_A_STEP):
            continue  # the last batch has it all: no parameter moves before
        for like, value in ((None, count), *gradients.items()):
            held = _leaf(graph, group, like, value.type)
            graph.results[f"update.{held.name}"] = held + value


def accumulated_gradients(graph: Graph, wanted: Sequence[Value], moved: Collection[str]) -> Mapping[Value, Value]:
    """The gradients of the total loss over this batch and all that were accumulated; the states begin again at 0."""
    whole: dict[Value, Value] = {}
    for group, (count, gradients) in gradients_of_sums(graph, wanted, moved).items():
        if not group.endswith(_A_STEP):
            held = _leaf(graph, group, None, count.type)
            graph.results[f"update.{held.name}"] = graph.constant(0.0, count.type)
            count = count + held
        for parameter, gradient in gradients.items():
            if not group.endswith(_A_STEP):
                held = _leaf(graph, group, parameter, gradient.type)
                zero = graph.constant(0.0, gradient.type)
                is_scalar = not gradient.type.dims
                graph.results[f"update.{held.name}"] = (
                    zero if is_scalar else apply("broadcast", zero, dims=gradient.type.dims)
                )
                gradient = gradient + held
            part = gradient / count
            whole[parameter] = whole[parameter] + part if parameter in whole else part
    return whole
