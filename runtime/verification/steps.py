"""Check `steps`: a model that `netc generate` could step predicts, step by step, what it does for whole sequences."""

from collections.abc import Iterator

import numpy as np

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import Result
from netc.compiler.ir.roles import Role
from netc.compiler.passes.stepping.step import stepping
from netc.compiler.pipeline import steppable_graph
from netc.dsl.diagnostics import Fault
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.inference.stepper import Stepped, Stepper
from netc.runtime.verification.backends import Pair
from netc.runtime.verification.comparison import Rounding, differences
from netc.runtime.verification.interpreter import Noise
from netc.runtime.verification.subject import Difference, Subject, ready_fields

_SAMPLES, _STEPS = 3, 24  # sequences that are stepped, and the most steps of each


def check(subject: Subject) -> Iterator[Difference]:
    """Compares each output with a row for each step, if it follows from one sequence and no step needs a later one."""
    pair, fields = Pair(subject, "reference", 1), ready_fields(subject.model, subject.fields)
    graph = steppable_graph(subject.model)
    for output, value in graph.results.items():
        stepped = _stepped(subject, graph, output)
        if stepped is None:
            continue
        sequences = fields[stepped.field]
        assert isinstance(sequences, Ragged)
        for sample in range(min(_SAMPLES, len(sequences))):
            rows = sequences.take(np.array([sample])).rows[:_STEPS]
            for name, detail in _differences(pair, stepped, rows):
                yield Difference("steps", name, value.span, f"{detail}, as for all {len(rows)} steps at once")


def _stepped(subject: Subject, graph: Graph, output: Result) -> Stepped | None:
    """An output that can be stepped; None if it follows from other inputs too, or if a step needs a later one."""
    value, part = graph.results[output], graph.only(output)
    inputs = part.values(Role.INPUT)
    if not value.type.is_varying or len(inputs) != 1 or inputs[0].type.rows != value.type.rows:
        return None
    dim = str(value.type.rows)
    try:
        stepping(part, dim)
    except Fault:
        return None
    return Stepped(graph, output, inputs[0].name, dim, subject.model.bounds.get(dim))


def _differences(pair: Pair, stepped: Stepped, rows: Array) -> Iterator[tuple[str, str]]:
    """The output if a sequence is stepped, beside that of the whole sequence."""

    def predicted(noise: Noise | None = None) -> dict[str, Array]:
        pair.reference.noise = noise
        outputs = pair.reference.predict({stepped.field: [rows]}, outputs=[stepped.output.name])
        return {str(stepped.output): outputs[stepped.output.name][0]}

    stepper = Stepper(pair.tested.compiled, stepped)
    by_steps = np.concatenate([stepper.step(row[None]) for row in rows])
    return differences({str(stepped.output): by_steps}, predicted(), Rounding(predicted))
