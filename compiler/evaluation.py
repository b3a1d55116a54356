"""Losses, metrics, watched and fitted values as figures of a whole split: what is computed batch by batch, and what once from that.

A figure may reduce over the batch (`rmse`, `r2`, a weighted loss): it is cut before its first value that mixes samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value, apply
from netc.compiler.mixing import mixes_samples
from netc.compiler.model import Model
from netc.compiler.passes.prepare import prepared
from netc.compiler.passes.simplify import expand


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is computed batch by batch (`collect.N`), and what is computed once over a whole split from that.

    Both are expanded: what mixes samples then shows in the types, also in a softmax over the batch. Leaf N of `whole` is the collected N, and its batch
    is the whole split; `units` names, for some N, the target whose units it is in. Results of `whole` that have a batch are meant as their mean.
    """

    batches: Graph
    whole: Graph
    units: dict[str, str]


def evaluation_graphs(model: Model, undone: frozenset[str] = frozenset()) -> Evaluation:
    """`loss.NAME`, `metric.NAME` and `watch.NAME.mean` and its kin. It is also cut where a metric reads a target of `undone`, so that metrics can be in the units of the data."""
    graph = expand(prepared(model.graph.of("loss.", "metric.", "watch.", "weight.", "output."), training=False))
    figures = _figures(graph)
    metrics = {name: value for name, value in figures.items() if name.startswith("metric.")}
    cut = _Cut(graph)
    cut.take({name: value for name, value in figures.items() if name not in metrics}, frozenset())
    cut.take(metrics, undone)  # by itself: a value that a loss shares with a metric is in the model's units there
    batches, _ = graph.subgraph(cut.collected)
    return Evaluation(batches, cut.whole, cut.units)


def fitting_graphs(model: Model, name: str) -> Evaluation:
    """One result `fitted.NAME`."""
    graph = expand(prepared(model.graph.of(name), training=False))
    cut = _Cut(graph)
    cut.take(graph.results, frozenset())
    batches, _ = graph.subgraph(cut.collected)
    return Evaluation(batches, cut.whole, cut.units)


class _Cut:
    """A graph in two: `collected` is computed batch by batch, `whole` once from what was collected."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.whole = graph, Graph()
        self.whole.precision = graph.precision
        self.collected: dict[str, Value] = {}
        self.units: dict[str, str] = {}
        self.of_target = values_in_units_of_targets(graph)

    def take(self, figures: Mapping[str, Value], undone: frozenset[str]) -> None:
        """Add figures as results of `whole`: cut before what mixes samples, and where a target of `undone` is read."""
        live, late, made = needed_by(figures.values()), set[Value](), dict[Value, Value]()
        for value in self.graph.values():
            reads_undone = any(one.role is Role.TARGET and one.name in undone for one in value.operands)
            if value in live and (reads_undone or mixes_samples(value) or any(one in late for one in value.operands)):
                late.add(value)

        def collect(value: Value) -> None:
            name = str(len(self.collected))
            self.collected[f"collect.{name}"] = value
            made[value] = self.whole.leaf("input" if value.type.is_batched else "given", name, value.type)
            if self.of_target.get(value) in undone:
                self.units[name] = self.of_target[value]

        for value in self.graph.values():
            if value in late:
                with self.whole.at(value.span):
                    for one in value.operands:
                        # what the runtime makes for each batch (tables of rows, keys of random numbers) it makes for the whole split as well
                        is_made_anew = not one.operands and (not one.name or one.role is Role.GIVEN)
                        if one not in made and is_made_anew:
                            made[one] = self.whole.add_copy(one, ())
                        elif one not in made:
                            collect(one)
                    operands = [made[one] for one in value.operands]
                    made[value] = self.whole.add_copy(value, operands)
        for name, value in figures.items():
            if value not in made:
                collect(value)
            self.whole.results[name] = made[value]


def _figures(graph: Graph) -> dict[str, Value]:
    """The values whose figures are wanted, by name; weights and watched values as what they come to over the batch."""
    found: dict[str, Value] = {}
    for name, value in graph.results.items():
        kind = name.partition(".")[0]
        weight = graph.results.get(f"weight.{name}")
        axes = tuple(range(value.type.rank))
        with graph.at(value.span):
            if kind in ("loss", "metric") and weight is not None:
                found[name] = apply("sum", value, over=axes) / apply("sum", weight, over=axes)
            elif kind in ("loss", "metric"):
                found[name] = value
            elif kind == "watch":
                found |= {f"{name}.{what}": part for what, part in _spread(value).items()}
    return found


def _spread(value: Value) -> dict[str, Value]:
    """Mean, standard deviation and range, each row (a sample, or a step of one) by itself first, so that little is collected: var = mean(var) + var(mean)."""
    batch, own = ((0,) if value.type.is_batched else ()), tuple(range(int(value.type.is_batched), value.type.rank))
    means, variances = (apply(name, value, over=own) if own else value for name in ("mean", "variance"))
    low, high = (apply(name, value, over=own) if own else value for name in ("min", "max"))
    if not own:
        variances = value - value
    if not batch:
        return {"mean": means, "std": apply("sqrt", variances), "min": low, "max": high}
    total = apply("mean", variances, over=batch) + apply("variance", means, over=batch)
    return {
        "mean": apply("mean", means, over=batch),
        "std": apply("sqrt", total),
        "min": apply("min", low, over=batch),
        "max": apply("max", high, over=batch),
    }


def values_in_units_of_targets(graph: Graph) -> dict[Value, str]:
    """The targets, and the outputs that a loss or metric subtracts from one: whatever undoes a target's steps undoes theirs."""
    outputs = {value for name, value in graph.results.items() if name.startswith("output.")}
    found = {value: value.name for value in graph.values("target")}
    for value in graph.values("subtract"):
        for one, other in (value.operands, value.operands[::-1]):
            if other.role is Role.TARGET and one in outputs:
                found[one] = other.name
    return found
