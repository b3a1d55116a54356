"""The record of a saved prediction: all that `netc predict RUN DATA` needs of a run, as plain data.

`record_of` makes it of a run and the step that predicted; saved.py writes, finds and opens it. It is read by type, so a
record that another netc wrote is a miss.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.ir.types import BATCH, Type, size_of
from netc.compiler.program.plan import CallLayout, Table
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Code
from netc.dsl.source import Source, Span
from netc.runtime.columns import OutputFacts
from netc.runtime.data import windows
from netc.runtime.data.block.declarations import DataSpec, FieldSpec, StepSpec
from netc.runtime.data.steps.shape import TRAIN_ONLY
from netc.runtime.data.stored import Bytes, Field, Ragged
from netc.runtime.execution.resources import state_layout

if TYPE_CHECKING:
    from netc.compiler.model import Model
    from netc.runtime.execution.step import Step
    from netc.runtime.runs.run import Run

Offsets = tuple[int, int]  # a span of the model's text
_Scalar = bool | int | float | str


class StepRecord(msgspec.Struct, frozen=True):
    """A step of a field's pipe."""

    name: str
    arguments: tuple[_Scalar, ...]
    span: Offsets


class FieldRecord(msgspec.Struct, frozen=True):
    """A field of the data block."""

    columns: tuple[str, ...]
    is_single: bool
    is_rest: bool
    steps: tuple[StepRecord, ...]
    span: Offsets


class DataRecord(msgspec.Struct, frozen=True):
    """The data block, the types of the inputs that are read, and where the model declares them."""

    reader: str
    options: str  # of the reader, as JSON
    dialect: tuple[str, str, str] | None
    pictures: tuple[int, int, int] | None
    split_column: str | None
    fields: dict[str, FieldRecord]
    inputs: dict[str, Type]
    declared: dict[str, Offsets]


class ProgramRecord(msgspec.Struct, frozen=True):
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
    scales: dict[str, float]  # of the inputs that are kept as bytes
    inputs: dict[str, Table]
    results: dict[str, Table]
    spans: dict[str, Offsets]  # of results
    kernels: tuple[str, ...]


class Record(msgspec.Struct, frozen=True):
    """All of a saved prediction but the object code of its schedule, which follows it in the file."""

    keeps_best: bool
    data: DataRecord
    program: ProgramRecord
    facts: OutputFacts
    undone: tuple[str, ...]  # the targets whose steps are undone in predictions


def field_spec(name: str, field: FieldRecord, source: Source) -> FieldSpec:
    steps = tuple(StepSpec(step.name, step.arguments, Span(source, *step.span)) for step in field.steps)
    return FieldSpec(name, field.columns, field.is_single, steps, Span(source, *field.span), field.is_rest)


def record_of(run: "Run", step: "Step", fields: Mapping[str, Field], code: Code) -> Record | None:
    """The record of a prediction step, or None where it needs more than a record holds.

    These are varying dimensions, leaves that the runtime computes, plug-ins, and data blocks with windows or places in
    other files.
    """
    model, spec = run.model, run.spec
    values = (*model.graph.values(), *step.graph.values())
    scales = {name: float(field.scale) for name, field in fields.items() if isinstance(field, Bytes)}
    is_plain = (
        bool(fields)
        and not any(isinstance(field, Ragged) for field in fields.values())
        and not any(value.type.is_varying or value.type.is_held for value in values)
        and {*step.given} <= {*map(scale_of, scales)}
        and not windows.is_series(spec.fields.values())
        and not _has_plugins()
    )
    if not is_plain:
        return None
    try:
        data = _data(model, spec, step)
        program = _program(model, step, code, scales)
    except _NotPlain:
        return None
    return Record(
        keeps_best=model.train.keeps_parameters,
        data=data,
        program=program,
        facts=run.facts_of([*model.outputs]),
        undone=tuple(run.undone()),
    )


def scale_of(name: str) -> str:
    """The name of the leaf that is the scale of an input kept as bytes."""
    return str(SuppliedKind.SCALE.named(name))


class _NotPlain(Exception):
    """A span lies outside the model's text, or an argument is not a plain number or text."""


def _has_plugins() -> bool:
    from netc.runtime import plugins

    return plugins.are_any()


def _data(model: "Model", spec: DataSpec, step: "Step") -> DataRecord:
    inputs = {leaf.name: model.inputs[leaf.name] for leaf in step.graph.values(Role.INPUT)}
    return DataRecord(
        spec.source.reader,
        msgspec.json.encode(spec.source.options).decode(),
        spec.dialect,
        spec.pictures,
        spec.split.column,
        {name: _field(field, model.source) for name, field in spec.fields.items()},
        inputs,
        {name: _offsets(model.declared[name], model.source) for name in inputs},
    )


def _field(field: FieldSpec, source: Source) -> FieldRecord:
    steps = tuple(StepRecord(step.name, _arguments(step), _offsets(step.span, source)) for step in field.steps)
    return FieldRecord(field.columns, field.is_single, field.is_rest, steps, _offsets(field.span, source))


def _arguments(step: StepSpec) -> tuple[_Scalar, ...]:
    if step.name == TRAIN_ONLY.name:  # its arguments concern the training part alone
        return ()
    for argument in step.arguments:
        is_number = isinstance(argument, float) and np.isfinite(argument)
        if not is_number and not isinstance(argument, str | int):
            raise _NotPlain
    return step.arguments


def options_of(text: str) -> tuple[tuple[str, Any], ...]:
    """The options of a reader: lists are tuples in them."""
    options = msgspec.json.decode(text, type=list[tuple[str, Any]])
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in options)


def _offsets(span: Span, source: Source) -> Offsets:
    if span.source is not source:
        raise _NotPlain
    return span.start, span.end


def _program(model: "Model", step: "Step", code: Code, scales: dict[str, float]) -> ProgramRecord:
    layout = code.layout
    assert step.plan_facts is not None
    types, offsets, nbytes = state_layout(model, None)
    if offsets != step.resources.state.offsets:  # the optimizer's states are in the same memory
        raise _NotPlain
    source, spans = model.source, {name: step.results[name].span for name in layout.results}
    return ProgramRecord(
        machine=step.resources.target.machine,
        batch=step.batch,
        samples=size_of(BATCH, layout.sizes),
        is_shared=step.prepared.members(step.plan_facts, layout.sizes, 2) > 1,
        arrays=types,
        offsets=offsets,
        nbytes=nbytes,
        shared=layout.shared,
        private=layout.private,
        tables=layout.step_bytes,
        scales=scales,
        inputs=layout.inputs,
        results=layout.results,
        spans={name: _offsets(span, source) for name, span in spans.items() if span.source is source},
        kernels=code.kernels,
    )


def layout_of(program: ProgramRecord) -> CallLayout:
    """The call layout of the plan that the saved code was built for. It has no varying dimensions."""
    sizes, memory = program.samples, (program.shared, program.private)
    return CallLayout(sizes, *memory, program.tables, (), program.inputs, program.results)
