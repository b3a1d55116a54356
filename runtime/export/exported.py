"""A run as a file for those who do not have netc: raw numbers in, predictions in the data's units out.

From the end of a field's pipe on, the steps that are arithmetic (`standardize`, `minmax`, `scale`, `clip`, `log`, and
`impute` of numbers) become part of the exported model, and its input is f64, as the data's steps compute. Those before
(labels, vocabularies, dates, ...) are described in the file (described.py), for whoever prepares its inputs.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler.analysis.units import values_in_units_of_targets
from netc.compiler.export.exportable import Exported, exportable
from netc.compiler.export.numpy_file import numpy_file
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.elementwise_definition import choose
from netc.compiler.passes.simplify import rebuild
from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span
from netc.runtime.data.data_step import State
from netc.runtime.data.declarations import StepSpec
from netc.runtime.data.pipeline import units_need_f64
from netc.runtime.data.steps import STEPS
from netc.runtime.export.described import Facts, describe_input, is_picture
from netc.runtime.inference.parts import fields_of, part_of
from netc.runtime.predictions import words_of
from netc.runtime.random import words
from netc.runtime.runs.run import Run

Array = np.ndarray[Any, Any]
_IDENTITY = ("reshape", "flatten", "window", "next", "train_only")  # steps that change no number

Rule = Callable[[Any, Any], Any]
# by the name of a step: the step and its inverse, on a value of a graph and the state of the step
FORWARD: dict[str, Rule] = {
    **{name: step.formula for name, step in STEPS.items() if step.formula is not None},
    "scale": lambda x, state: x * state["by"],
    "clip": lambda x, state: apply("clip", x, state["least"], state["most"]),
    "log": lambda x, state: apply("log", x),
    "impute": lambda x, state: choose(apply("not_equal", x, x), state["fill"], x),
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
    folded, notes, facts = dict[str, list[tuple[StepSpec, State]]](), dict[str, str](), Facts()
    for name in fields:
        if name in model.inputs:
            folded[name] = arithmetic_steps(run, name)
            notes[name] = describe_input(run, name, len(run.states[name]) - len(folded[name]), facts)
            if changes_numbers(folded[name]) and not is_picture(run, run.spec.fields[name]):
                fields[name] = replace(fields[name], dtype="f64")  # f32 has the bytes of pictures exactly
                notes[name] += "; numbers of 64 bits"

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is not Role.INPUT or value.name not in folded:
            return copy.add_copy(value, operands)
        name = value.name
        raw = copy.leaf(Role.INPUT, name, fields[name])
        return _through(raw, FORWARD, folded[name], name, arrays, value.type.dtype)

    types = {name: value.type for name, value in graph.results_of(ResultKind.OUTPUT).items()}
    graph = rebuild(graph, rule)
    for name, target in _in_units(run).items():
        key = ResultKind.OUTPUT.named(name)
        if key in graph.results:
            pairs = [*zip(run.spec.fields[target].steps, run.states[target], strict=True)][::-1]
            result = graph.results[key]
            needs_f64 = units_need_f64(run.spec.fields[target], run.states[target])
            types[name] = replace(types[name], dtype="f64" if needs_f64 else types[name].dtype)
            graph.results[key] = _through(result, _BACKWARD, pairs, target, arrays, types[name].dtype)
            notes[name] = f"in the units of {target}"
    notes |= _notes_about_columns(run, [*types])
    return Exported(
        Path(run.model.source.file_name).stem,
        exportable(graph),
        fields,
        types,
        arrays,
        notes,
        {**facts.pop("labels", {}), **_labels(run, fields, graph)},
        facts,
    )


def changes_numbers(pairs: Sequence[tuple[StepSpec, State]]) -> bool:
    """Whether some of these steps compute numbers."""
    return any(step.name in FORWARD and not state.get("drop") for step, state in pairs)


def _in_units(run: Run) -> dict[str, str]:
    """The outputs that are converted to the units of a target, and that target."""
    targets = values_in_units_of_targets(run.model.graph)
    return {name: targets[value] for name, value in run.model.values.items() if targets.get(value) in run.undone()}


def arithmetic_steps(run: Run, name: str) -> list[tuple[StepSpec, State]]:
    """The last steps of an input that are arithmetic on arrays of the shape that the model takes, with their states."""
    pairs = [*zip(run.spec.fields[name].steps, run.states[name], strict=True)]
    taken, is_moved = 0, False
    for step, state in reversed(pairs):
        is_moved = is_moved or step.name in ("reshape", "flatten")
        has_columns = any(isinstance(number, list) for number in state.values())
        if step.name not in _IDENTITY and (step.name not in FORWARD or (is_moved and has_columns)):
            break
        if any(isinstance(fill, str) for fill in state.get("fill", ())):
            break
        taken += 1
    return pairs[len(pairs) - taken :]


def _through(
    x: Value,
    rules: Mapping[str, Rule],
    pairs: Sequence[tuple[StepSpec, State]],
    field: str,
    arrays: dict[str, Array],
    dtype: str,
) -> Value:
    """A value through steps of a field by these rules, as a value of the type `dtype`.

    `arrays` receives fitted arrays.
    """
    if not any(step.name in rules for step, _ in pairs):
        return x
    result = apply("cast", x, dtype="f64")  # the data's steps compute in f64
    for i, (step, state) in enumerate(pairs):
        if step.name in rules and not state.get("drop"):
            numbers = {
                name: _number(result, f"{field}.{i}.{name}", number, arrays)
                for name, number in state.items()
                if not isinstance(number, bool)
            }
            result = rules[step.name](result, numbers)
    return apply("cast", result, dtype=dtype)


def _number(like: Value, name: str, number: Any, arrays: dict[str, Array]) -> Value:
    """A number of a step's state as a constant of the graph of `like`, or an array of it as a leaf.

    An array with an element for each number of a sample gets the shape of a sample.
    """
    array, shape = np.asarray(number, np.float64), like.type.shape(1)[1:]
    if array.size == math.prod(shape):
        array = array.reshape(shape)
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
            labels[name] = run.labels_of(name, type_.classes)
    named = [name for name in graph.results_of(ResultKind.OUTPUT) if name in run.model.values]
    for name in named:
        if words := words_of(run, name):
            labels[name] = words
    for distribution in run.facts_of(named).distributions:
        of_columns = distribution.names if distribution.is_multiple else ()
        names = of_columns or run.labels_of(distribution.target, distribution.classes)
        labels.setdefault(distribution.output, names)
    return labels


def _notes_about_columns(run: Run, outputs: Sequence[str]) -> dict[str, str]:
    """The notes about outputs that have probabilities of several columns of a target."""
    named = [name for name in outputs if name in run.model.values]
    return {
        entry.output: f"of the columns {', '.join(entry.names)} of {entry.target}, in this order"
        for entry in run.facts_of(named).distributions
        if entry.names
    }


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
