"""The graphs that `netc diagnose` evaluates: gradients of weights and of a scan's states at each step, and outputs of
units.

How far back in time a gradient reaches is asked of the loss at each sample's last step alone, if the loss has a row for
each step, because the losses of earlier steps would hide that nothing comes from afar. It is asked again of the loss at
the first step, which is the last one of a scan that goes backwards.
"""

from collections.abc import Collection
from typing import NamedTuple

from msgspec import Struct

from netc.compiler.ir.dims import same
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import TableKind, table
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Dim, Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.model import Model
from netc.compiler.operations import sequence
from netc.compiler.operations.functions import relu, sigmoid, tanh
from netc.compiler.operations.scan import (
    Scan,
    ScanAttributes,
    ScanOperands,
    SlotKind,
    add_leaf,
    part,
    scan,
    scans,
    slot_of,
)
from netc.compiler.passes.differentiate import adjoints, differentiate
from netc.compiler.passes.narrow import narrow
from netc.compiler.passes.objective import total_loss
from netc.compiler.passes.prepare import prepared
from netc.compiler.passes.scans import opened
from netc.compiler.passes.simplify import rebuild
from netc.dsl.source import Span

UNITS = (relu, tanh, sigmoid)  # units that can be dead or saturated
GATE = sigmoid  # a unit that may well be saturated in a scan


class Probe(Struct, frozen=True):
    """Results of a graph and what they stand for.

    They are the gradient of a weight, the gradients of a state at each step (of the loss at the last step, and of that
    at the first), or the output of a layer of units. The states of one scan have the same `group`.
    """

    results: tuple[str, ...]
    name: str
    span: Span
    group: str = ""


class Diagnosis(Struct, frozen=True):
    """The graph of the gradients of `weights` and `states`, and that of the outputs of `units`, whose names are
    operations.

    With `has_step_losses` a loss has a row for each step of a scan.
    """

    gradients: Graph
    outputs: Graph
    weights: tuple[Probe, ...]
    states: tuple[Probe, ...]
    units: tuple[Probe, ...]
    has_step_losses: bool


def diagnosis(model: Model) -> Diagnosis:
    """The graphs of a model that has a loss."""
    forward = model.graph.of(ResultKind.LOSS, ResultKind.LOSS_WEIGHT)
    probed, carries = _probed(prepared(forward, training=True))
    graph = opened(probed)
    units = _units(graph)
    outputs = graph.of(ResultKind.UNIT)
    probes = {name: graph.results.pop(ResultKind.STATE.named(name)) for name in graph.results_of(ResultKind.STATE)}
    losses = [value for value in graph.results_of(ResultKind.LOSS).values() if value.type.is_batched]
    dims = {scanned.dim for scanned in scans(graph)}
    has_step_losses = any(_has_steps(loss, dims) for loss in losses)
    states = []
    for end in ("last", "first") if has_step_losses else ("last",):
        gradients = adjoints(graph, {loss: _seed(loss, end, dims) for loss in losses}, list(probes.values()))
        graph.results |= {
            ResultKind.STATE.named(f"{name}.{end}"): gradients[zero]
            for name, zero in probes.items()
            if zero in gradients
        }
    for name, zero in probes.items():
        ends = [ResultKind.STATE.named(f"{name}.{end}") for end in ("last", "first")]
        results = tuple(str(result) for result in ends if result in graph.results)
        if results:
            states.append(Probe(results, carries[name].name, zero.span, carries[name].scan))
    leaves = {value.name: value for value in graph.values(Role.PARAMETER)}
    matrices = [leaves[name] for name in model.parameters if name in leaves and leaves[name].type.rank > 1]
    weights = []
    for value, gradient in differentiate(graph, total_loss(graph), matrices).items():
        name = value.name
        result = ResultKind.GRADIENT.named(name)
        graph.results[result] = gradient
        weights.append(Probe((str(result),), name, model.trainables[name].span))
    gradients_only = graph.of(ResultKind.STATE, ResultKind.GRADIENT)
    gradient_graph, output_graph = (narrow(part, model.train.precision) for part in (gradients_only, outputs))
    return Diagnosis(gradient_graph, output_graph, tuple(weights), tuple(states), units, has_step_losses)


class _Carry(NamedTuple):
    """The number of a scan, and the name of a state that it carries."""

    scan: str
    name: str


def _probed(graph: Graph) -> tuple[Graph, dict[str, _Carry]]:
    """The graph with a zero added to each float state of its scans as it enters each step, and the states by result.

    The zeros are results `state.SCAN.NAME` with a row for each step; their gradients are those of the states.
    """
    zeros: dict[_Carry, Value] = {}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is not Role.SCAN:
            return copy.add_copy(value, operands)
        return _probed_scan(copy, value, operands, zeros)

    probed = rebuild(graph, rule)
    carries = {".".join(carry): carry for carry in zeros}
    probed.results.update({ResultKind.STATE.named(name): zeros[carry] for name, carry in carries.items()})
    return probed, carries


def _probed_scan(copy: Graph, value: Value, operands: list[Value], zeros: dict[_Carry, Value]) -> Value:
    """The scan in the graph `copy`, with the zeros as further sequences, which are put into `zeros`."""
    original, names = Scan.of(value), value.attributes_as(ScanAttributes).carries or ()
    floats = [i for i, begin in enumerate(original.begins) if begin.type.is_float]
    position = {SlotKind.CARRY.slot(i): len(original.sequences) + n for n, i in enumerate(floats)}
    added = []
    for i in floats:
        row = original.begins[i].type
        zero = apply("broadcast", copy.constant(0.0, row), dims=(original.dim, *row.dims[1:]))
        added.append(zero)
        zeros[_Carry(str(value.number), str(names[i] if i < len(names) else i))] = zero

    def inside(body: Graph, leaf: Value, parts: list[Value]) -> Value:
        inner = body.add_copy(leaf, parts)
        slot = slot_of(leaf)
        if slot not in position:
            return inner
        return inner + add_leaf(body, SlotKind.STEP_INPUT.slot(position[slot]), leaf.type)

    first, second = len(original.sequences), len(original.begins)
    return scan(
        copy,
        rebuild(original.body, inside),
        original.dim,
        ScanOperands([*operands[:first], *added], operands[first : first + second], operands[first + second :]),
        original.is_reversed,
    )


def _has_steps(loss: Value, dims: Collection[str]) -> bool:
    """Whether a loss has a row for each step of a scan, whose dimensions are `dims`."""
    return loss.type.is_varying or _fixed_steps(loss, dims) > 0


def _fixed_steps(loss: Value, dims: Collection[str]) -> int:
    """The number of steps of a loss float[batch, n, ...] whose samples all have n of them; 0 for other losses."""
    size = loss.type.sample[0] if loss.type.sample and not loss.type.is_varying else 0
    return size if isinstance(size, int) and same(size) in dims else 0


def _seed(loss: Value, end: str, dims: Collection[str]) -> Value:
    """The gradient of a loss with respect to itself: 1 for each sample; only at its `first` or `last` step if it has
    steps."""
    graph = loss.graph
    seed = apply("broadcast", graph.constant(1.0, loss.type), dims=loss.type.dims)
    if not _has_steps(loss, dims):
        return seed
    if count := _fixed_steps(loss, dims):
        number = graph.add("arange", (), {"n": count}, Type("i32", (count,)))
        step = apply("cast", number, dtype=graph.precision)
        ends: Value | float = count - 1.0 if end == "last" else 0.0
        shape: tuple[Dim, ...] = (1, count, *(1,) * (loss.type.rank - 2))
    else:
        dim = str(loss.type.rows)
        step = apply("cast", table(graph, TableKind.STEP, dim), dtype=graph.precision)
        ends = sequence.spread(sequence.length(graph, dim), dim) - 1.0 if end == "last" else 0.0
        shape = (dim, *(1,) * (loss.type.rank - 1))
    is_there = apply("reshape", apply("equal", step, ends), dims=shape)
    return apply("where", is_there, seed, 0.0)


def _units(graph: Graph) -> tuple[Probe, ...]:
    """The outputs of units as results `unit.N`: values of the graph itself, and values that the bodies of its scans
    yield."""
    outputs: list[tuple[str, Value, Span]] = [
        (value.operation, value, value.span)
        for value in graph.values()
        if value.definition in UNITS and value.type.dims[:1] and value.type.is_batched
    ]
    for each in list(scans(graph)):
        for name, value in each.body.results_of(ResultKind.YIELD).items():
            if value.definition in UNITS and value.definition is not GATE:
                outputs.append((value.operation, part(each.value, ResultKind.YIELD.named(name)), value.span))
    probes = []
    for n, (name, value, span) in enumerate(outputs):
        result = ResultKind.UNIT.named(n)
        graph.results[result] = value
        probes.append(Probe((str(result),), name, span))
    return tuple(probes)
