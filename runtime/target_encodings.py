"""The classes of a target as a loss encodes them: computed by the graph itself for a few samples, never guessed.

Knows the graph of a model, not its data.
"""

import numpy as np

from netc.compiler.backends import target_of
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.value import Value
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.execution.resources import Resources, State
from netc.runtime.execution.sequences import SequenceStep
from netc.runtime.execution.step import Step, has_rows
from netc.runtime.execution.workers import Workers


def is_number_of_class(graph: Graph, value: Value, target: Value) -> bool:
    """Whether a value that is computed from only a target of two classes is 0 for the first and 1 for the second."""
    samples = np.zeros((2, *target.type.shape(1)[1:]), np.int32)
    samples[1] = 1
    return _is_encoded(graph, value, target, samples, samples)


def marks_classes(graph: Graph, value: Value, target: Value) -> bool:
    """Whether a value that is computed alone from a target, a sequence of classes in each sample, has a 1 for each
    class that occurs and a 0 for each other.
    """
    classes = target.type.classes or 0
    tokens = np.array([0, classes - 1, classes // 2, 0, 0], np.int32)
    samples = Ragged(tokens, np.array([1, 3, 1]))
    expected = np.zeros((3, classes))
    expected[[0, 1, 1, 1, 2], tokens] = 1
    return _is_encoded(graph, value, target, samples, expected)


def _is_encoded(graph: Graph, value: Value, target: Value, samples: Array | Ragged, expected: Array) -> bool:
    """Whether the value, for some samples of the target, is `expected`."""
    if not value.type.is_batched:
        return False
    result = ResultKind.VALUE.named("code")
    small, _ = graph.subgraph({result: value})
    resources = Resources(State.of(None, None), Workers(1), target_of("reference"))
    if has_rows(small):
        step: Step = SequenceStep(small, resources, len(samples), {target.name: str(target.type.rows)})
    else:
        step = Step(small, resources, len(samples))
    encoded = step.run({target.name: samples}, np.arange(len(samples)))[str(result)]
    return np.array_equal(np.asarray(encoded), expected)
