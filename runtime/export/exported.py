"""A run as a file for those who do not have netc: raw numbers in, predictions in the data's units out.

From the end of a field's pipe on, the steps that are arithmetic (`standardize`, `minmax`, `scale`, `clip`, `log`)
become part of the exported model. Those before (labels, vocabularies, dates, ...) are listed in the file's notes, for
whoever prepares its inputs.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler.evaluation import values_in_units_of_targets
from netc.compiler.export.exportable import Exported, exportable
from netc.compiler.export.numpy_file import numpy_file
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.passes.simplify import rebuild
from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span
from netc.runtime.data.declarations import StepSpec
from netc.runtime.data.steps import STEPS
from netc.runtime.inference.parts import fields_of, part_of
from netc.runtime.predictions import labels_of, words_of
from netc.runtime.random import words
from netc.runtime.runs.run import Run

Array = np.ndarray[Any, Any]
State = Mapping[str, Any]
_IDENTITY = ("reshape", "flatten", "window", "next", "train_only")  # steps that change no number

Rule = Callable[[Any, Any], Any]
# by the name of a step: the step and its inverse, on a value of a graph and the state of the step
FORWARD: dict[str, Rule] = {
    **{name: step.formula for name, step in STEPS.items() if step.formula is not None},
    "scale": lambda x, state: x * state["by"],
    "clip": lambda x, state: apply("clip", x, state["least"], state["most"]),
    "log": lambda x, state: apply("log", x),
}
_BACKWARD: dict[str, Rule] = {
    **{name: step.undo for name, step in STEPS.items() if name in FORWARD and step.undo is not None},
    "log": lambda x, state: apply("exp", x),
}


def exported(run: Run, outputs: Sequence[str] | None = None, inputs: Sequence[str] = ()) -> Exported:
    """A run's model in use, or the part of it that computes `outputs` from `inputs`, which may be inner values.

    Raises ValueError for a wrong name.
    """
    model = run.model
    graph = part_of(model, inputs or [*model.inputs], outputs)
    fields, arrays = fields_of(model, graph), dict(run.program.compiled.state.arrays)
    folded, notes = dict[str, list[StepSpec]](), dict[str, str]()
    for name in fields:
        if name in model.inputs:
            steps = [*run.spec.fields[name].steps]
            folded[name] = arithmetic_steps(steps, run.states[name])
            before = [step.name for step in steps[: len(steps) - len(folded[name])]]
            if before:
                notes[name] = f"after {' -> '.join(before)}"

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        copied = copy.add_copy(value, operands)
        name = value.name if value.role is Role.INPUT else ""
        return _through(copied, FORWARD, folded.get(name, []), run.states.get(name, []), name, arrays)

    types = {name: value.type for name, value in graph.results_of(ResultKind.OUTPUT).items()}
    graph = rebuild(graph, rule)
    for name, target in _in_units(run).items():
        key = ResultKind.OUTPUT.named(name)
        if key in graph.results:
            steps = [*run.spec.fields[target].steps]
            graph.results[key] = _through(
                graph.results[key], _BACKWARD, steps, run.states[target], target, arrays, back=True
            )
            notes[name] = f"in the units of {target}"
    return Exported(
        Path(run.model.source.file_name).stem,
        exportable(graph),
        fields,
        types,
        arrays,
        notes,
        _labels(run, fields, graph),
    )


def _in_units(run: Run) -> dict[str, str]:
    """The outputs that are converted to the units of a target, and that target."""
    targets = values_in_units_of_targets(run.model.graph)
    return {name: targets[value] for name, value in run.model.values.items() if targets.get(value) in run.undone()}


def arithmetic_steps(steps: Sequence[StepSpec], states: Sequence[State]) -> list[StepSpec]:
    """The last steps of a pipe that are arithmetic on arrays of the shape that the model takes."""
    taken, is_moved = 0, False
    for step, state in zip(reversed(steps), reversed(states), strict=True):
        is_moved = is_moved or step.name in ("reshape", "flatten")
        has_columns = any(isinstance(number, list) for number in state.values())
        if step.name not in _IDENTITY and (step.name not in FORWARD or (is_moved and has_columns)):
            break
        taken += 1
    return [*steps[len(steps) - taken :]]


def _through(
    x: Value,
    rules: Mapping[str, Rule],
    steps: Sequence[StepSpec],
    states: Sequence[State],
    field: str,
    arrays: dict[str, Array],
    back: bool = False,
) -> Value:
    """A value through the last steps of a field's pipe, or `back` through them; `arrays` receives fitted arrays."""
    if not any(step.name in rules for step in steps):
        return x
    result = apply("cast", x, dtype="f64")  # the data's steps compute in f64
    pairs = list(zip(steps, states[len(states) - len(steps) :], strict=True))
    for i, (step, state) in enumerate(reversed(pairs) if back else pairs):
        if step.name in rules:
            numbers = {name: _number(result, f"{field}.{i}.{name}", number, arrays) for name, number in state.items()}
            result = rules[step.name](result, numbers)
    return apply("cast", result, dtype=x.type.dtype)


def _number(like: Value, name: str, number: Any, arrays: dict[str, Array]) -> Value:
    """A number of a step's state as a constant of the graph of `like`, or an array of it as a leaf."""
    array = np.asarray(number, np.float64)
    type_ = Type("f64", tuple(map(int, array.shape)))
    if not array.ndim:
        return like.graph.constant(float(array), type_)
    arrays[name] = array
    return like.graph.leaf(Role.STATE, name, type_)


def _labels(run: Run, fields: Mapping[str, Type], graph: Graph) -> dict[str, tuple[str, ...]]:
    """The labels of the classes of inputs, targets and outputs, by name."""
    labels: dict[str, tuple[str, ...]] = {}
    for name, type_ in {**fields, **run.model.targets}.items():
        if type_.classes is not None and name in run.spec.fields:
            labels[name] = labels_of(run, name, type_.classes)
    for name in graph.results_of(ResultKind.OUTPUT):
        if name in run.model.values and (words := words_of(run, name)):
            labels[name] = words
    return labels


def random_words(run: Run, name: str) -> Array:
    """The first words of a stream of random numbers, as in `netc predict`."""
    return words(2, run.program.seed, name, 0)


def as_python(run: Run, asked: Exported) -> str:
    """An exported run as one Python file that needs only NumPy."""
    return numpy_file(asked, lambda name: random_words(run, name))


def as_onnx(asked: Exported) -> bytes:
    """An exported run as an ONNX file. Faults E1202 if the package `onnx` is not installed."""
    try:
        from netc.compiler.export.onnx_file import onnx_file
    except ImportError as error:
        place = Span(Source("the package onnx", ""), 0, 0)
        fault("E1202", "the package `onnx` is not installed", place, str(error), hint='pip install "netc[onnx]"')
    return onnx_file(asked)
