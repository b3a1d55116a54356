"""A run as a file for those who do not have netc, with the arithmetic of its data's steps in it: raw numbers in, answers in the data's units out.

From the end of a field's pipe on, the steps that are arithmetic (`standardize`, `minmax`, `scale`, `clip`, `log`) become part of the exported model; what
comes before (labels, vocabularies, dates, ...) is told in the file's notes, for whoever prepares its inputs.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler.evaluation import values_in_units_of_targets
from netc.compiler.export.numpy_file import numpy_file
from netc.compiler.export.writer import Exported, exportable
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import DTYPES, Bounded, Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.passes.simplify import rebuild
from netc.dsl.diagnostics import fault
from netc.dsl.source import NOWHERE, Source, Span
from netc.runtime.answers import labels_of, words_of
from netc.runtime.data.madeup import made_up
from netc.runtime.data.spec import StepSpec
from netc.runtime.data.steps import STEPS, Place
from netc.runtime.data.stored import Ragged
from netc.runtime.parts import fields_of, part_of
from netc.runtime.random import words
from netc.runtime.run import Run

Array = np.ndarray[Any, Any]
State = Mapping[str, Any]
_IDENTITY = ("reshape", "flatten", "window", "next", "train_only")  # what changes no number


Rule = Callable[[Any, Any], Any]
# by the step: how it goes, and back, on values of a graph and what the step's state holds; plain arithmetic is the step's own
_FORTH: dict[str, Rule] = {
    **{name: step.formula for name, step in STEPS.items() if step.formula is not None},
    "scale": lambda x, state: x * state["by"],
    "clip": lambda x, state: apply("clip", x, state["least"], state["most"]),
    "log": lambda x, state: apply("log", x),
}
_BACK: dict[str, Rule] = {
    **{name: step.undo for name, step in STEPS.items() if name in _FORTH and step.undo is not None},
    "log": lambda x, state: apply("exp", x),
}


def exported(run: Run, outputs: Sequence[str] | None = None, given: Sequence[str] = ()) -> Exported:
    """A run's model in use, or the part of it from what is `given` to the `outputs`. Raises ValueError for a wrong name."""
    model = run.model
    graph = part_of(model, given or [*model.inputs], outputs)
    fields, arrays = fields_of(model, graph), dict(run.program.persistent)
    folded, notes = dict[str, list[StepSpec]](), dict[str, str]()
    for name in fields:
        if name in model.inputs:
            steps = [*run.spec.fields[name].steps]
            folded[name] = _arithmetic(steps, run.states[name])
            before = [one.name for one in steps[: len(steps) - len(folded[name])]]
            if before:
                notes[name] = f"after {' -> '.join(before)}"

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        made = copy.add_copy(value, operands)
        name = value.name if value.role is Role.INPUT else ""
        return _through(made, _FORTH, folded.get(name, []), run.states.get(name, []), name, arrays)

    types = {key.removeprefix("output."): one.type for key, one in graph.results.items() if key.startswith("output.")}
    graph = rebuild(graph, rule)
    for name, target in _in_units(run).items():
        key = f"output.{name}"
        if key in graph.results:
            steps = [*run.spec.fields[target].steps]
            graph.results[key] = _through(
                graph.results[key], _BACK, steps, run.states[target], target, arrays, back=True
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
    """The outputs that come back in the units of a target, and that target."""
    targets = values_in_units_of_targets(run.model.graph)
    return {name: targets[value] for name, value in run.model.values.items() if targets.get(value) in run.undone()}


def _arithmetic(steps: Sequence[StepSpec], states: Sequence[State]) -> list[StepSpec]:
    """The last steps of a pipe that are arithmetic on arrays of the shape that the model takes."""
    taken, is_moved = 0, False
    for step, state in zip(reversed(steps), reversed(states), strict=True):
        is_moved = is_moved or step.name in ("reshape", "flatten")
        has_columns = any(isinstance(one, list) for one in state.values())
        if step.name not in _IDENTITY and (step.name not in _FORTH or (is_moved and has_columns)):
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
    """A value through the last steps of a field's pipe, or `back`. What a step was fitted to becomes part of `arrays`."""
    if not any(step.name in rules for step in steps):
        return x
    result = apply("cast", x, dtype="f64")  # as the data's steps compute
    pairs = list(zip(steps, states[len(states) - len(steps) :], strict=True))
    for i, (step, state) in enumerate(reversed(pairs) if back else pairs):
        if step.name in rules:
            own, of = result, f"{field}.{i}"
            numbers = {name: _number(own, f"{of}.{name}", number, arrays) for name, number in state.items()}
            result = rules[step.name](own, numbers)
    return apply("cast", result, dtype=x.type.dtype)


def _number(like: Value, name: str, number: Any, arrays: dict[str, Array]) -> Value:
    array = np.asarray(number, np.float64)
    type_ = Type("f64", tuple(map(int, array.shape)))
    if not array.ndim:
        return like.graph.constant(float(array), type_)
    arrays[name] = array
    return like.graph.leaf("state", name, type_)


def _labels(run: Run, fields: Mapping[str, Type], graph: Graph) -> dict[str, tuple[str, ...]]:
    """What the numbers of classes are called: of the inputs, the targets and the outputs."""
    found: dict[str, tuple[str, ...]] = {}
    for name, type_ in {**fields, **run.model.targets}.items():
        if type_.classes is not None and name in run.spec.fields:
            found[name] = labels_of(run, name, type_.classes)
    for key in graph.results:
        name = key.removeprefix("output.")
        if name in run.model.values and (words := words_of(run, name)):
            found[name] = words
    return found


def random_words(run: Run, name: str) -> Array:
    """What a stream of random numbers begins with, as `netc predict` has it."""
    return words(2, run.program.seed, name, 0)


def as_python(run: Run, asked: Exported) -> str:
    """What is `exported` of a run as one file of Python that needs NumPy alone."""
    return numpy_file(asked, lambda name: random_words(run, name))


def as_onnx(asked: Exported) -> bytes:
    """What is `exported` of a run as ONNX. Faults E1202 if the package `onnx` is not there."""
    try:
        from netc.compiler.export.onnx_file import onnx_file
    except ImportError as error:
        place = Span(Source("the package onnx", ""), 0, 0)
        fault("E1202", "the package `onnx` is not installed", place, str(error), hint='pip install "netc[onnx]"')
    return onnx_file(asked)


_LONGEST = 9  # steps of a made-up sample at most


def samples_of(
    run: Run, inputs: Mapping[str, Type], count: int, seed: int = 0, longest: int = _LONGEST
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Made-up samples of these inputs, as a file takes them, and as the run's model does."""
    raw, prepared = dict[str, Any](), dict[str, Any]()
    for name, field in made_up(run.model, count, seed, inputs, longest).items():
        if isinstance(field, Ragged):
            pairs = [_both(run, name, one) for one in field]
            raw[name], prepared[name] = [one for one, _ in pairs], [one for _, one in pairs]
        else:
            raw[name], prepared[name] = _both(run, name, np.asarray(field))
    return raw, prepared


def _both(run: Run, name: str, drawn: Array) -> tuple[Array, Array]:
    """An array before and after the steps that are part of the file."""
    if name not in run.model.inputs:
        return drawn, drawn
    steps = _arithmetic(run.spec.fields[name].steps, run.states[name])
    pairs = [
        (one.name, state)
        for one, state in zip(steps, run.states[name][len(run.states[name]) - len(steps) :], strict=True)
        if one.name in _FORTH
    ]
    raw = drawn
    for step, state in reversed(pairs):
        back = STEPS[step].undo
        raw = raw if back is None else back(raw, state)
    raw = raw.astype(drawn.dtype)
    through = raw
    place = Place("", (name,), np.arange(len(raw)), NOWHERE)
    for step, state in pairs:
        made = STEPS[step].apply(through, state, place)
        assert not isinstance(made, Ragged)
        through = made
    return raw, through.astype(drawn.dtype)


def padded(asked: Exported, fields: Mapping[str, Any]) -> dict[str, Array]:
    """Fields as an ONNX file takes them: sequences [batch, DIM, ...] with zeros beyond their ends, and `length.DIM`."""
    found: dict[str, Array] = {}
    for name, type_ in asked.inputs.items():
        if not type_.is_varying:
            found[name] = np.asarray(fields[name], DTYPES[type_.dtype].numpy)
            continue
        lengths = np.array([len(one) for one in fields[name]], np.int64)
        whole = np.zeros((len(lengths), lengths.max(), *map(int, type_.dims[1:])), DTYPES[type_.dtype].numpy)
        for i, one in enumerate(fields[name]):
            whole[i, : len(one)] = one
        found[name], found[f"length.{type_.rows}"] = whole, lengths
    return found


def from_padded(found: Mapping[str, Array], asked: Exported, given: Mapping[str, Array]) -> dict[str, Any]:
    """What an ONNX file gave, its sequences each as long as it is."""
    known = {**given, **found}
    answers: dict[str, Any] = {}
    for name, type_ in asked.outputs.items():
        array = found[name]
        if type_.is_varying:
            answers[name] = [one[:n] for one, n in zip(array, known[f"length.{type_.rows}"], strict=True)]
        elif type_.is_held:
            ends = [known.get(f"length.{dim.name}") if isinstance(dim, Bounded) else None for dim in type_.dims[1:]]
            answers[name] = [
                one[tuple(np.s_[: end[i]] if end is not None else np.s_[:] for end in ends)]
                for i, one in enumerate(array)
            ]
        else:
            answers[name] = array
    return answers
