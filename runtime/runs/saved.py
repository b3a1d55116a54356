"""Saved predictions: a record in the cache with all that `netc predict RUN DATA` needs of a run.

A prediction by the compiler (run.py) saves it; later ones read it and run neither the parser, nor a pass, nor LLVM. A
record is found by all that decides it (`_name_of`). One that is missing, damaged or too small for the data is a miss:
the caller then predicts by the compiler, with the same bits. Saved are models that read one array for each input and
have no varying dimension; `_record` says what else is left out.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from netc.compiler.backends import target_of
from netc.compiler.ir.results import ResultKind, parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Type, size_of
from netc.compiler.program.plan import CallLayout, Table
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Code, Reopening, Storable
from netc.dsl import records
from netc.dsl.diagnostics import Fault
from netc.dsl.quoting import json_text
from netc.dsl.source import NOWHERE, Source, Span
from netc.runtime.available import NotEnough, require
from netc.runtime.columns import OutputFacts
from netc.runtime.data import windows
from netc.runtime.data.declarations import DataSpec, FieldSpec, SourceSpec, SplitSpec, StepSpec
from netc.runtime.data.new_data import Fitted, read_fields
from netc.runtime.data.pipeline import class_labels, undo
from netc.runtime.data.stored import Array, Field
from netc.runtime.environment import fingerprint
from netc.runtime.execution.fields import sample_count
from netc.runtime.execution.loaded import Loaded
from netc.runtime.execution.memory import footprint
from netc.runtime.execution.resources import Resources, State, state_layout
from netc.runtime.execution.workers import Workers
from netc.runtime.runs.checkpoint import BEST, CHECKPOINT, load_checkpoint
from netc.runtime.runs.metrics import read_metrics
from netc.runtime.runs.run_files import METRICS, read_info
from netc.runtime.runs.run_info import RunInfo, States, encoded
from netc.runtime.typed_json import parsed

if TYPE_CHECKING:
    from netc.compiler.model import Model
    from netc.runtime.execution.step import Step
    from netc.runtime.runs.run import Run

_Place = tuple[int, int]  # a span of the model's text
_Scalar = bool | int | float | str


class _Step(msgspec.Struct, frozen=True):
    """A step of a field's pipe."""

    name: str
    arguments: tuple[_Scalar, ...]
    place: _Place


class _Field(msgspec.Struct, frozen=True):
    """A field of the data block."""

    columns: tuple[str, ...]
    is_single: bool
    is_rest: bool
    steps: tuple[_Step, ...]
    place: _Place


class _Data(msgspec.Struct, frozen=True):
    """The data block, the types of the inputs that are read, and where the model declares them."""

    reader: str
    options: str  # of the reader, as JSON
    split_column: str | None
    fields: dict[str, _Field]
    inputs: dict[str, Type]
    declared: dict[str, _Place]


class _Program(msgspec.Struct, frozen=True):
    """The parameters' memory, and the plan without its phases.

    Its code is that of `kernels`, by name, and the object code behind the record.
    """

    machine: Machine
    batch: int  # the declared one
    samples: int  # the most that there is memory for
    is_shared: bool  # whether several workers take part
    arrays: dict[str, Type]
    offsets: dict[str, int]
    nbytes: int
    shared: int
    private: int
    tables: tuple[tuple[int, int], ...]
    inputs: dict[str, Table]
    results: dict[str, Table]
    places: dict[str, _Place]  # of results
    kernels: tuple[str, ...]


class _Record(msgspec.Struct, frozen=True):
    """All of a saved prediction but the object code of its schedule, which follows it in the file."""

    keeps_best: bool
    data: _Data
    program: _Program
    facts: OutputFacts
    undone: tuple[str, ...]  # the targets whose steps are undone in predictions


class SavedPrediction:
    """A run that predicts without its graph. Opened by `open_saved`."""

    def __init__(self, record: _Record, source: Source, states: States, loaded: Loaded) -> None:
        self._record, self._states, self._loaded = record, states, loaded
        self._spans = {name: Span(source, *place) for name, place in record.program.places.items()}
        data = record.data
        fields = {name: _field_spec(name, field, source) for name, field in data.fields.items()}
        spec = DataSpec(
            SourceSpec(data.reader, "", NOWHERE, _options(data.options)),
            fields,
            SplitSpec(column=data.split_column),
            Span(source, 0, 0),
        )
        declared = {name: Span(source, *place) for name, place in data.declared.items()}
        self.fitted = Fitted(source.folder, spec, states, declared)

    @property
    def facts(self) -> OutputFacts:
        return self._record.facts

    @property
    def members(self) -> int:
        """The largest number of workers of a prediction."""
        return self._loaded.members

    def read(self, source: SourceSpec) -> dict[str, Field]:
        """The inputs of new data. Faults E08xx where it is wrong."""
        return read_fields(self.fitted, source, self._record.data.inputs)[0]

    def predict(self, fields: Mapping[str, Field]) -> dict[str, Array] | None:
        """The outputs in the units of the data, or None if these fields need another program than the saved one."""
        program, arrays = self._record.program, dict[str, Array]()
        for name, field in fields.items():
            if not isinstance(field, np.ndarray):
                return None
            arrays[name] = field
        count = sample_count(arrays, self._record.data.inputs, program.batch)
        if min(count, program.batch) > program.samples:
            return None
        try:
            results = self._loaded.run_batches(arrays, np.arange(count), program.batch, self._spans)
        except NotEnough:
            return None  # the compiler says in which place of the text
        outputs: dict[str, Array] = {}
        for text, value in results.items():
            result, type_ = parse_result(text), program.results[text].type
            if result.kind is ResultKind.OUTPUT:
                outputs[result.name] = self._in_units(result.name, value if type_.is_batched else np.asarray(value)[0])
        return outputs

    def labels_of(self, name: str, classes: int) -> tuple[str, ...]:
        """The labels of a field's classes."""
        return class_labels(self.fitted.spec.fields[name], self._states[name], classes)

    def _in_units(self, output: str, values: Array) -> Array:
        target = self.facts.units.get(output)
        if target is None or target not in self._record.undone:
            return values
        return undo(self.fitted.spec.fields[target], self._states[target])(values)


def _field_spec(name: str, field: _Field, source: Source) -> FieldSpec:
    steps = tuple(StepSpec(step.name, step.arguments, Span(source, *step.place)) for step in field.steps)
    return FieldSpec(name, field.columns, field.is_single, steps, Span(source, *field.place), field.is_rest)


# ------------------------------------------------------------------ reading


def open_saved(folder: Path, threads: int | None = None) -> SavedPrediction | None:
    """The saved prediction of a run, with its parameters, or None if the cache has none. Faults as `open_run`."""
    info, text, states = read_info(folder)
    name = _name_of(info, text, states)
    content = records.read(name) if name is not None else None
    if content is None:
        return None
    head, _, step = content.partition(b"\n")
    try:
        record: _Record = parsed(head, _Record)
    except ValueError:  # another netc wrote it
        return None
    program = record.program
    workers = Workers(program.machine.cores if threads is None else threads)
    members = workers.count if program.is_shared else 1
    target = target_of("numba", program.machine)
    assert isinstance(target, Reopening), "only machine code is saved"
    executable = target.reopen(Code(step, program.kernels), _layout(program), members)
    if executable is None:
        return None
    try:
        require(footprint(program.shared) + members * footprint(program.private), "a step")
        state = State.laid_out(program.arrays, program.offsets, program.nbytes)
        resources = Resources(state, workers, target)
        loaded = Loaded(executable, members, resources)
    except NotEnough:
        return None
    progress = load_checkpoint(folder / CHECKPOINT, resources.state.arrays)
    if record.keeps_best and os.path.exists(folder / BEST):
        load_checkpoint(folder / BEST, resources.state.arrays)
    read_metrics(folder / METRICS, progress.epoch, progress.metrics)  # a damaged run is refused, as `open_run` does
    return SavedPrediction(record, _source(info, text), states, loaded)


def _source(info: RunInfo, text: str) -> Source:
    return Source(info.name, text, Path(info.path) if info.path else None)


def _layout(program: _Program) -> CallLayout:
    """The call layout of the plan that the saved code was built for. It has no varying dimensions."""
    sizes, memory = program.samples, (program.shared, program.private)
    return CallLayout(sizes, *memory, program.tables, (), program.inputs, program.results)


def name_of(folder: Path) -> str | None:
    """The name of a run's record as its files are now, or None as in `_name_of`. Faults E1001 as `open_run`."""
    return _name_of(*read_info(folder))


def _name_of(info: RunInfo, text: str, states: States) -> str | None:
    """The name of a run's record, or None if the run may depend on something that the name does not contain.

    The name contains the run and its fitted steps, netc's files, the installed packages, and the machine.
    """
    environment = fingerprint()
    if environment is None or info.plugins or re.search(r"\bimport\b", text):
        return None
    return f"prediction-{records.key_of(environment, encoded(info), text, json.dumps(states, sort_keys=True))}"


# ------------------------------------------------------------------ writing


def save(run: "Run", fields: Mapping[str, Field], name: str | None) -> None:
    """Saves what a prediction of all outputs from these fields needed, if it can be saved.

    `name` is what `name_of` returned before the run was opened. Nothing is saved if the run or netc has changed since.
    """
    if name is None or name != _name_now(run.folder):
        return
    step = run.program.prediction_step(fields)
    code = step.executable.code if isinstance(step.executable, Storable) else None
    record = _record(run, step, fields, code) if code is not None else None
    if code is not None and record is not None:
        head = json_text(msgspec.to_builtins(record)).encode()
        assert b"\n" not in head, "JSON escapes line breaks"
        records.write(name, head + b"\n" + code.step)


def _name_now(folder: Path) -> str | None:
    try:
        return name_of(folder)
    except Fault:  # the run was deleted meanwhile
        return None


def _record(run: "Run", step: "Step", fields: Mapping[str, Field], code: Code) -> _Record | None:
    """The record of a prediction step, or None where it needs more than a record holds.

    These are varying dimensions, leaves that the runtime computes, plug-ins, and data blocks with windows, options of a
    reader, or places in other files.
    """
    model, spec = run.model, run.spec
    values = (*model.graph.values(), *step.graph.values())
    is_plain = (
        bool(fields)
        and all(isinstance(field, np.ndarray) for field in fields.values())
        and not any(value.type.is_varying or value.type.is_held for value in values)
        and not step.given
        and not spec.source.options
        and not windows.is_series(spec.fields.values())
        and not _has_plugins()
    )
    if not is_plain:
        return None
    try:
        data = _data(model, spec, step)
        program = _program(model, step, code)
    except _NotPlain:
        return None
    return _Record(
        keeps_best=model.train.keep is not None,
        data=data,
        program=program,
        facts=_facts(model),
        undone=tuple(run.undone()),
    )


class _NotPlain(Exception):
    """A span lies outside the model's text, or an argument is not a plain number or text."""


def _has_plugins() -> bool:
    from netc.runtime import plugins

    return plugins.are_any()


def _facts(model: "Model") -> OutputFacts:
    from netc.runtime.target_outputs import output_facts

    return output_facts(model, [*model.outputs])


def _data(model: "Model", spec: DataSpec, step: "Step") -> _Data:
    inputs = {leaf.name: leaf.type for leaf in step.graph.values(Role.INPUT)}
    return _Data(
        spec.source.reader,
        msgspec.json.encode(spec.source.options).decode(),
        spec.split.column,
        {name: _field(field, model.source) for name, field in spec.fields.items()},
        inputs,
        {name: _place(model.declared[name], model.source) for name in inputs},
    )


def _field(field: FieldSpec, source: Source) -> _Field:
    steps = tuple(_Step(step.name, _plain(step.arguments), _place(step.span, source)) for step in field.steps)
    return _Field(field.columns, field.is_single, field.is_rest, steps, _place(field.span, source))


def _options(text: str) -> tuple[tuple[str, Any], ...]:
    """The options of a reader: lists are tuples in them."""
    options = msgspec.json.decode(text, type=list[tuple[str, Any]])
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in options)


def _plain(arguments: tuple[Any, ...]) -> tuple[_Scalar, ...]:
    for argument in arguments:
        is_number = isinstance(argument, float) and np.isfinite(argument)
        if not is_number and not isinstance(argument, str | int):
            raise _NotPlain
    return arguments


def _place(span: Span, source: Source) -> _Place:
    if span.source is not source:
        raise _NotPlain
    return span.start, span.end


def _program(model: "Model", step: "Step", code: Code) -> _Program:
    from netc.runtime.execution.step import members_of

    plan = step.plan
    assert plan is not None
    types, offsets, nbytes = state_layout(model, None)
    if offsets != step.resources.state.offsets:  # the optimizer's states are in the same memory
        raise _NotPlain
    source, spans = model.source, {name: step.results[name].span for name in plan.results}
    return _Program(
        machine=step.resources.target.machine,
        batch=step.batch,
        samples=size_of(BATCH, plan.sizes),
        is_shared=members_of(step.graph, plan.sizes, 2) > 1,
        arrays=types,
        offsets=offsets,
        nbytes=nbytes,
        shared=plan.shared,
        private=plan.private,
        tables=plan.schedule.tables,
        inputs=plan.inputs,
        results=plan.results,
        places={name: _place(span, source) for name, span in spans.items() if span.source is source},
        kernels=code.kernels,
    )
