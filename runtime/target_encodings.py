"""How a loss encodes the classes of a target: computed by the graph itself for a few samples, never guessed.

Knows the graph of a model, not its data.
"""

import numpy as np

from netc.compiler.backends import target_of
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.execution.resources import Resources, State
from netc.runtime.execution.sequences import SequenceStep
from netc.runtime.execution.step import Step, has_rows
from netc.runtime.execution.workers import Workers


def is_number_of_class(value: Value, target: str, type_: Type) -> bool:
    """Whether a value that is computed from a target of two classes alone is 0 for the first and 1 for the second."""
    samples = np.zeros((2, *type_.shape(1)[1:]), np.int32)
    samples[1] = 1
    return np.array_equal(_encoded(value, target, type_, samples), samples)


def marks_classes(value: Value, target: str, type_: Type) -> bool:
    """Whether a value that is computed alone from a target, a sequence of classes in each sample, has a 1 for each
    class that occurs and a 0 for each other.
    """
    classes = type_.classes or 0
    tokens = np.array([0, classes - 1, classes // 2, 0, 0], np.int32)
    samples = Ragged(tokens, np.array([1, 3, 1]))
    expected = np.zeros((3, classes))
    expected[[0, 1, 1, 1, 2], tokens] = 1
    return np.array_equal(_encoded(value, target, type_, samples), expected)


def _encoded(value: Value, target: str, type_: Type, samples: Field) -> Array | None:
    """The value for some samples of the target; None if it does not have one for each sample."""
    if not value.type.is_batched:
        return None
    result = ResultKind.VALUE.named("code")
    graph, _ = value.graph.subgraph({result: value})
    resources = Resources(State.of(None, None), Workers(1), target_of("reference"))
    if has_rows(graph):
        step: Step = SequenceStep(graph, resources, len(samples), {target: str(type_.rows)})
    else:
        step = Step(graph, resources, len(samples))
    fields = {target: samples if isinstance(samples, Ragged) else np.asarray(samples)}
    return np.asarray(step.run(fields, np.arange(len(samples)))[str(result)])
