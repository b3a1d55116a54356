"""What training makes small: each loss as a sum over a count, all of them added up, and their gradients, at once or batch after batch.

A loss is its sum over all elements of the batch over their number, or over the sum of its weights; one that depends on no data (a penalty) counts
once a step. Sums and counts can be added up over several batches before they are divided (`accumulate`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netc.compiler.graph import Graph
from netc.compiler.operations.reduce import extent
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.types import BATCH, Type
from netc.compiler.value import Value, apply

ACCUMULATED = "accumulated."
_WEIGHTS = "weights of "


@dataclass(frozen=True, slots=True)
class Term:
    """One loss: `total / count` is what training makes small. Terms of one `group` share their count."""

    name: str
    group: str
    total: Value
    count: Value


def _once_a_sample(group: str) -> str:
    """The group, if its losses have as many elements in every sample: then the batch's size counts them."""
    return group if group.endswith(f" a row of {BATCH}") else ""


def _sum(value: Value) -> Value:
    return apply("sum", value, over=tuple(range(value.type.rank))) if value.type.rank else value


def terms(graph: Graph) -> list[Term]:
    """The losses among the graph's results. Elements of as many a sample have a group in common, penalties the group `step`, weighted losses one each."""
    found = []
    for result, loss in list(graph.results.items()):
        if not result.startswith("loss."):
            continue
        name, weight = result.removeprefix("loss."), graph.results.get(f"weight.{result}")
        with graph.at(loss.span):
            if weight is not None:
                found.append(Term(name, f"{_WEIGHTS}{name}", _sum(loss), _sum(weight)))
            elif loss.type.is_batched:
                found.append(
                    Term(
                        name,
                        f"{loss.type.size(1)} a row of {loss.type.rows}",
                        _sum(loss),
                        extent(loss, tuple(range(loss.type.rank))),
                    )
                )
            else:
                found.append(Term(name, "step", _sum(loss), extent(loss, tuple(range(loss.type.rank)))))
    return found


def total_loss(graph: Graph) -> Value:
    """Each loss by itself, as `total.NAME` (and `count.NAME` where that is no number a sample), and all added up, as `total`."""
    total: Value | None = None
    for term in terms(graph):
        with graph.at(term.total.span):
            mean = term.total / term.count
            graph.results[f"total.{term.name}"] = mean
            if term.group not in ("step", _once_a_sample(term.group)):
                graph.results[f"count.{term.name}"] = term.count
            total = mean if total is None else total + mean
    assert total is not None
    graph.results["total"] = total
    return total


def gradients_of_sums(graph: Graph, wanted: Sequence[Value]) -> dict[str, tuple[Value, dict[Value, Value]]]:
    """By group: what the sums of its losses are divided by, and the gradients of these sums."""
    found: dict[str, tuple[Value, dict[Value, Value]]] = {}
    found_terms = terms(graph)
    for group in dict.fromkeys(term.group for term in found_terms):
        members = [term for term in found_terms if term.group == group]
        total = members[0].total
        for term in members[1:]:
            total = total + term.total
        found[group] = (members[0].count, differentiate(graph, total, wanted))
    return found


def _leaf(graph: Graph, group: str, like: Value | None, type_: Type) -> Value:
    return graph.leaf("state", f"{ACCUMULATED}{group}" + (f".{like.attributes['name']}" if like else ""), type_)


def accumulate(graph: Graph, wanted: Sequence[Value]) -> None:
    """Add the sums and counts of this batch to those of the batches before, as states."""
    for group, (count, gradients) in gradients_of_sums(graph, wanted).items():
        if group == "step":
            continue
        for like, value in ((None, count), *gradients.items()):
            held = _leaf(graph, group, like, value.type)
            graph.results[f"update.{held.attributes['name']}"] = held + value


def accumulated_gradients(graph: Graph, wanted: Sequence[Value]) -> Mapping[Value, Value]:
    """The gradients of the total loss over this batch and all that were accumulated; the states begin again at 0."""
    whole: dict[Value, Value] = {}
    for group, (count, gradients) in gradients_of_sums(graph, wanted).items():
        if group != "step":
            held = _leaf(graph, group, None, count.type)
            graph.results[f"update.{held.attributes['name']}"] = graph.constant(0.0, count.type)
            count = count + held
        for parameter, gradient in gradients.items():
            if group != "step":
                held = _leaf(graph, group, parameter, gradient.type)
                zero = graph.constant(0.0, gradient.type)
                is_scalar = not gradient.type.dims
                graph.results[f"update.{held.attributes['name']}"] = (
                    zero if is_scalar else apply("broadcast", zero, dims=gradient.type.dims)
                )
                gradient = gradient + held
            part = gradient / count
            whole[parameter] = whole[parameter] + part if parameter in whole else part
    return whole
