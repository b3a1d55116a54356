"""A run as a file for those who do not have netc: raw numbers in, predictions in the data's units out.

From the end of a field's pipe on, the steps that are arithmetic (`standardize`, `minmax`, `scale`, `clip`, `log`, and
`impute` of numbers) become part of the exported model, and its input is f64, as the data's steps compute. Those before
(labels, vocabularies, dates, ...) are described in the file (described.py), for whoever prepares its inputs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler.analysis.units import units_of_values
from netc.compiler.export.exportable import Exported, exportable
from netc.compiler.export.numpy_file import numpy_file
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value
from netc.compiler.passes.simplify import rebuild
from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span
from netc.dsl.structs import replace
from netc.runtime.data.block.declarations import StepSpec
from netc.runtime.data.pipeline import units_need_f64
from netc.runtime.data.steps.data_step import State
from netc.runtime.export.described import Facts, describe_input, is_picture
from netc.runtime.graph_steps import BACKWARD, FORWARD, arithmetic_steps, changes_numbers, through
from netc.runtime.inference.parts import fields_of, part_of
from netc.runtime.predictions import words_of
from netc.runtime.random import words
from netc.runtime.runs.run import Run

Array = np.ndarray[Any, Any]


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
            folded[name] = arithmetic_steps(run.spec.fields[name], run.states[name])
            notes[name] = describe_input(run, name, len(run.states[name]) - len(folded[name]), facts)
            if changes_numbers(folded[name]) and not is_picture(run, run.spec.fields[name]):
                fields[name] = replace(fields[name], dtype="f64")  # f32 has the bytes of pictures exactly
            if fields[name].dtype == "f64" and (changes_numbers(folded[name]) or model.train.floats != "f64"):
                notes[name] += "; numbers of 64 bits"

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is not Role.INPUT or value.name not in folded:
            return copy.add_copy(value, operands)
        name = value.name
        raw = copy.leaf(Role.INPUT, name, fields[name])
        return through(raw, FORWARD, folded[name], name, arrays, value.type.dtype)

    types = {name: value.type for name, value in graph.results_of(ResultKind.OUTPUT).items()}
    graph = rebuild(graph, rule)
    for name, target in _in_units(run).items():
        key = ResultKind.OUTPUT.named(name)
        if key in graph.results:
            pairs = [*zip(run.spec.fields[target].steps, run.states[target], strict=True)][::-1]
            result = graph.results[key]
            needs_f64 = units_need_f64(run.spec.fields[target], run.states[target])
            types[name] = replace(types[name], dtype="f64" if needs_f64 else types[name].dtype)
            graph.results[key] = through(result, BACKWARD, pairs, target, arrays, types[name].dtype)
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


def _in_units(run: Run) -> dict[str, str]:
    """The outputs that are converted to the units of a target, and that target."""
    undone = run.undone()
    return {name: target for name, target in units_of_values(run.model).items() if target in undone}


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
    """An exported run as an ONNX file. Raises E1202 if the package `onnx` is not installed."""
    try:
        from netc.compiler.export.onnx_file import onnx_file
    except ImportError as error:
        span = Span(Source("the package onnx", ""), 0, 0)
        fault("E1202", "the package `onnx` is not installed", span, str(error), hint='pip install "netc[onnx]"')
    return onnx_file(asked)
