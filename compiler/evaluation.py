"""Losses, metrics, watched and fitted values of a split: one graph for each batch, and one for the collected values.

A metric may reduce over the batch (`rmse`, `r2`, a weighted loss). It is cut before the first value that mixes samples.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from netc.compiler.analysis.mixing import mixes_samples
from netc.compiler.analysis.units import mixes_units, spread, values_in_units_of_targets
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import EVALUATED, Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH
from netc.compiler.ir.value import Value, apply
from netc.compiler.model import Model
from netc.compiler.passes.narrow import narrow
from netc.compiler.passes.prepare import prepared
from netc.compiler.passes.simplify import expand


class Evaluation(Struct, frozen=True):
    """The graph that runs on each batch (results `collect.N`), and the graph that runs once on the collected values.

    Both are expanded, so that the types show which values mix samples, also in a softmax over the batch. Leaf N of
    `over_split` is `collect.N` of all batches together; its batch is the split. `units` maps N to the target in whose
    units the value is, if there is one. A result of `over_split` that has a batch dimension stands for its mean.
    """

    batches: Graph
    over_split: Graph
    units: dict[str, str]

    @property
    def computes_nothing(self) -> bool:
        """Whether every result of `over_split` is a collected value, with a row for each sample."""
        values = self.over_split.results.values()
        return all(value.role is Role.INPUT and value.type.rows == BATCH for value in values)


def evaluation_graphs(model: Model, undone: frozenset[str] = frozenset()) -> Evaluation:
    """Returns the graphs of `loss.NAME`, `metric.NAME`, and `watch.NAME.mean`, `.std`, `.min`, `.max`, `.histogram`.

    Metrics are also cut where they read a target of `undone`, so that they can be computed in the units of the data:
    all except those that mix these units with others.
    """
    graph = expand(narrow(prepared(model.graph.of(*EVALUATED), training=False), model.train.precision))
    statistics = _statistics(graph)
    metrics = {result: value for result, value in statistics.items() if result.kind is ResultKind.METRIC}
    units = values_in_units_of_targets(model.graph)
    of_output = {result: units.get(value) for result, value in model.graph.results.items()}
    of_target = {graph.results[result]: target for result, target in of_output.items() if target is not None}
    of_target |= {leaf: leaf.name for leaf in graph.values(Role.TARGET)}
    cut = _Cut(graph, spread(graph, of_target))
    cut.take({result: value for result, value in statistics.items() if result not in metrics}, frozenset())
    groups: dict[frozenset[str], dict[Result, Value]] = {}
    for result, value in metrics.items():
        suitable = (target for target in undone if not mixes_units(graph, value, target, cut.of_target))
        groups.setdefault(frozenset(suitable), {})[result] = value
    for targets, results in groups.items():  # by themselves: a value has other units in another group
        cut.take(results, targets)
    cut.over_split.results = {result: cut.over_split.results[result] for result in statistics}
    batches, _ = graph.subgraph(cut.collected)
    return Evaluation(batches, cut.over_split, cut.units)


def fitting_graphs(model: Model, name: str) -> Evaluation:
    """Returns the graphs of `fitted.NAME`, the value of a state over its part of the data."""
    result = ResultKind.FITTED.named(name)
    graph = expand(narrow(prepared(model.graph.only(result), training=False), model.train.precision))
    cut = _Cut(graph, {})
    cut.take(graph.results, frozenset())
    batches, _ = graph.subgraph(cut.collected)
    return Evaluation(batches, cut.over_split, cut.units)


class _Cut:
    """Cuts a graph in two: `collected` are values of each batch, `over_split` is the graph over all of them.

    `of_target` has the target whose units a value is in.
    """

    def __init__(self, graph: Graph, of_target: Mapping[Value, str]) -> None:
        self.graph, self.over_split, self.of_target = graph, Graph(), of_target
        self.over_split.precision = graph.precision
        self.collected: dict[Result, Value] = {}
        self.units: dict[str, str] = {}

    def take(self, results: Mapping[Result, Value], undone: frozenset[str]) -> None:
        """Adds results to `over_split`, cut before values that mix samples or read a target of `undone`."""
        late, copies = self._late(results.values(), undone), dict[Value, Value]()

        def collect(value: Value) -> None:
            name = str(len(self.collected))
            self.collected[ResultKind.COLLECTED.named(name)] = value
            copies[value] = self.over_split.leaf(Role.INPUT if value.type.is_batched else Role.GIVEN, name, value.type)
            if self.of_target.get(value) in undone:
                self.units[name] = self.of_target[value]

        for value in late:
            with self.over_split.at(value.span):
                for operand in value.operands:
                    if operand in copies:
                        continue
                    if _is_supplied(operand):
                        copies[operand] = self.over_split.add_copy(operand, ())
                    else:
                        collect(operand)
                operands = [copies[operand] for operand in value.operands]
                copies[value] = self.over_split.add_copy(value, operands)
        for result, value in results.items():
            if value not in copies:
                collect(value)
            self.over_split.results[result] = copies[value]

    def _late(self, results: Iterable[Value], undone: frozenset[str]) -> dict[Value, None]:
        """Returns the values that `over_split` computes, in the order of the graph."""
        live, late = needed_by(results), dict[Value, None]()
        for value in self.graph.values():
            reads_undone = any(operand.role is Role.TARGET and operand.name in undone for operand in value.operands)
            follows = any(operand in late for operand in value.operands)
            if value in live and (reads_undone or mixes_samples(value) or follows):
                late[value] = None
        return late


def _is_supplied(value: Value) -> bool:
    """Whether a value is a constant or a leaf that the runtime supplies for a split as it does for a batch.

    Such leaves are tables of rows and keys of random numbers.
    """
    return not value.operands and (not value.name or value.role is Role.GIVEN)


def _statistics(graph: Graph) -> dict[Result, Value]:
    """Returns losses, metrics and statistics of watched values, weighted where the model has weights."""
    statistics: dict[Result, Value] = {}
    for result, value in graph.results.items():
        with graph.at(value.span):
            if result.kind in (ResultKind.LOSS, ResultKind.METRIC):
                statistics[result] = _weighted(value, graph.weight_of(result))
            elif result.kind is ResultKind.WATCH:
                for statistic, reduced in _spread(value).items():
                    statistics[ResultKind.WATCH.named(f"{result.name}.{statistic}")] = reduced
    return statistics


def _weighted(value: Value, weight: Value | None) -> Value:
    """Returns the sum of a loss or metric, divided by the sum of its weights if it has any; otherwise the value."""
    if weight is None:
        return value
    axes = tuple(range(value.type.rank))
    return apply("sum", value, over=axes) / apply("sum", weight, over=axes)


def _spread(value: Value) -> dict[str, Value]:
    """Returns the mean, standard deviation, minimum and maximum of a value, and as `histogram` the value itself if it
    is an array that belongs to no sample: a weight or a gradient.

    Each row (a sample, or a step of a sample) is reduced first, so that little is collected:
    var = mean(var) + var(mean).
    """
    batch, inner = ((0,) if value.type.is_batched else ()), tuple(range(int(value.type.is_batched), value.type.rank))
    means, variances = (apply(name, value, over=inner) if inner else value for name in ("mean", "variance"))
    low, high = (apply(name, value, over=inner) if inner else value for name in ("min", "max"))
    if not inner:
        variances = value - value
    if not batch:
        histogram = {"histogram": value} if inner else {}
        return {"mean": means, "std": apply("sqrt", variances), "min": low, "max": high, **histogram}
    total = apply("mean", variances, over=batch) + apply("variance", means, over=batch)
    return {
        "mean": apply("mean", means, over=batch),
        "std": apply("sqrt", total),
        "min": apply("min", low, over=batch),
        "max": apply("max", high, over=batch),
    }
