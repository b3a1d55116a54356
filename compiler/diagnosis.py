"""What `netc diagnose` looks at: one graph that gives, beside the loss, the gradient of each weight, that of each state of a scan as it enters each step,
and what each unit with a bounded or a dead end puts out.

How far back a step is heard is asked of the loss at each sample's last step alone (of one that has a step a row), and again of that at its first, which is
the last of what walks a reversed sequence: the losses between would hide that nothing comes from afar.
"""

from dataclasses import dataclass

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import table
from netc.compiler.ir.value import Value, apply
from netc.compiler.model import Model
from netc.compiler.operations import sequence
from netc.compiler.operations.scan import Scan, ScanAttributes, part, scan, scans
from netc.compiler.passes.differentiate import adjoints, differentiate
from netc.compiler.passes.objective import total_loss
from netc.compiler.passes.prepare import prepared
from netc.compiler.passes.scans import opened
from netc.compiler.passes.simplify import rebuild
from netc.dsl.source import Span

UNITS = ("relu", "tanh", "sigmoid")
GATE = "sigmoid"  # in a scan: that it stands open, or shut, is no fault


@dataclass(frozen=True, slots=True)
class Probe:
    """Results of the graph and what they stand for: the gradient of a weight, of a state at each step (of the loss at the last step, or at the first), or
    what units put out. States of one scan are of one `group`."""

    results: tuple[str, ...]
    name: str
    span: Span
    group: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`weights` and `states`, whose gradients one graph gives, and `units`, whose outputs another; a unit's name is its operation."""

    gradients: Graph
    outputs: Graph
    weights: tuple[Probe, ...]
    states: tuple[Probe, ...]
    units: tuple[Probe, ...]


def diagnosis(model: Model) -> Diagnosis:
    """The graph of a model with a loss."""
    forward = model.graph.of("loss.", "weight.loss.")
    graph = opened(_probed(prepared(forward, training=True)))
    units = _units(graph)
    outputs = graph.of("unit.")
    probes = {name: graph.results.pop(name) for name in list(graph.results) if name.startswith("state.")}
    losses = [value for name, value in graph.results.items() if name.startswith("loss.") and value.type.is_batched]
    states = []
    for end in ("last", "first") if any(loss.type.is_varying for loss in losses) else ("last",):
        found = adjoints(graph, {loss: _seed(loss, end) for loss in losses}, list(probes.values()))
        graph.results |= {f"{name}.{end}": found[zero] for name, zero in probes.items() if zero in found}
    for name, zero in probes.items():
        _, group, own = name.split(".", 2)
        ends = tuple(one for end in ("last", "first") if (one := f"{name}.{end}") in graph.results)
        if ends:
            states.append(Probe(ends, own, zero.span, group))
    leaves = {value.name: value for value in graph.values("parameter")}
    matrices = [leaves[name] for name in model.parameters if name in leaves and leaves[name].type.rank > 1]
    weights = []
    for value, gradient in differentiate(graph, total_loss(graph), matrices).items():
        name = value.name
        graph.results[f"gradient.{name}"] = gradient
        weights.append(Probe((f"gradient.{name}",), name, model.trainables[name].span))
    return Diagnosis(graph.of("state.", "gradient."), outputs, tuple(weights), tuple(states), units)


def _probed(graph: Graph) -> Graph:
    """A zero is added to each state as it enters each step: `state.SCAN.NAME` are these zeros, a row a step, whose gradients are those of the states."""

    added: dict[str, Value] = {}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is not Role.SCAN:
            return copy.add_copy(value, operands)
        one, names = Scan.of(value), value.attributes_as(ScanAttributes).carries or ()
        known = [i for i, begin in enumerate(one.begins) if begin.type.is_float]
        at = {f"c{i}": len(one.sequences) + n for n, i in enumerate(known)}
        zeros = []
        for i in known:
            row = one.begins[i].type
            zero = apply("broadcast", copy.constant(0.0, row), dims=(one.dim, *row.dims[1:]))
            zeros.append(zero)
            added[f"state.{value.number}.{names[i] if i < len(names) else i}"] = zero

        def inside(body: Graph, leaf: Value, parts: list[Value]) -> Value:
            made = body.add_copy(leaf, parts)
            name = leaf.name
            return made + body.leaf("given", f"x{at[name]}", leaf.type) if name in at else made

        first, second = len(one.sequences), len(one.begins)
        return scan(
            copy,
            rebuild(one.body, inside),
            one.dim,
            [*operands[:first], *zeros],
            operands[first : first + second],
            operands[first + second :],
            one.is_reversed,
        )

    made = rebuild(graph, rule)
    made.results.update(added)
    return made


def _seed(loss: Value, end: str) -> Value:
    """What a loss's gradient begins with: 1 for each sample, and if the loss has a row a step, at the sample's `first` or `last` one."""
    graph = loss.graph
    seed = apply("broadcast", graph.constant(1.0, loss.type), dims=loss.type.dims)
    if not loss.type.is_varying:
        return seed
    dim = str(loss.type.rows)
    step = apply("cast", table(graph, "step", dim), dtype=graph.precision)
    ends = sequence.spread(sequence.length(graph, dim), dim) - 1.0 if end == "last" else 0.0
    is_there = apply("reshape", apply("equal", step, ends), dims=(dim, *(1,) * (loss.type.rank - 1)))
    return apply("where", is_there, seed, 0.0)


def _units(graph: Graph) -> tuple[Probe, ...]:
    """What units put out, as results `unit.N`: in the graph itself, and in the bodies of its scans, which yield all that they compute."""
    found: list[tuple[str, Value, Span]] = [
        (value.operation, value, value.span)
        for value in graph.values()
        if value.operation in UNITS and value.type.dims[:1] and value.type.is_batched
    ]
    for one in list(scans(graph)):
        for name, value in one.body.results.items():
            if name.startswith("yield.") and value.operation in UNITS and value.operation != GATE:
                found.append((value.operation, part(one.value, name), value.span))
    for n, (_, value, _) in enumerate(found):
        graph.results[f"unit.{n}"] = value
    return tuple(Probe((f"unit.{n}",), name, span) for n, (name, _, span) in enumerate(found))
