"""Which inputs of an exported ONNX file can be its raw columns, and how; for the others, the reason.

A field can, if its steps are `impute`, then `classes` or `one_hot`, then arithmetic, which is part of every file.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from netc.compiler.export.exportable import Exported, RawColumns
from netc.compiler.ir.types import Type
from netc.runtime.data.cell_text import label_of
from netc.runtime.data.data_step import State
from netc.runtime.data.declarations import FieldSpec, StepSpec
from netc.runtime.export.described import is_picture
from netc.runtime.export.exported import arithmetic_steps
from netc.runtime.runs.run import Run

Pairs = Sequence[tuple[StepSpec, State]]
_LABELS = ("classes", "one_hot")


def with_columns(run: Run, asked: Exported) -> tuple[Exported, dict[str, str]]:
    """The same file with raw columns as inputs where possible, and for each other input what is left to do."""
    raw: dict[str, RawColumns] = {}
    left: dict[str, str] = {}
    is_text: dict[str, bool] = {}  # by column
    for name, type_ in asked.inputs.items():
        field = run.spec.fields.get(name) if name in run.model.inputs else None
        columns = None if field is None or is_picture(run, field) else _columns(run, field, type_)
        if columns is None or any(
            is_text.get(column, bool(columns.codes)) != bool(columns.codes) for column in columns.columns
        ):
            left[name] = asked.notes.get(name, "an inner value of the model")
            continue
        is_text |= dict.fromkeys(columns.columns, bool(columns.codes))
        raw[name] = columns
    notes = {name: note for name, note in asked.notes.items() if name not in raw}
    steps = {name: entry for name, entry in asked.facts.get("steps", {}).items() if name not in raw}
    facts = {**asked.facts, "steps": steps}
    return replace(asked, raw=raw, facts=facts, notes={**notes, **_notes(asked, raw)}), left


def _columns(run: Run, field: FieldSpec, type_: Type) -> RawColumns | None:
    """How the columns of a field become an input of this type; None if ONNX has no words for its steps."""
    states = run.states[field.name]
    if type_.is_varying or any(step.name == "window" for step in field.steps):
        return None
    pairs = [*zip(field.steps, states, strict=True)]
    pairs = pairs[: len(pairs) - len(arithmetic_steps(run, field.name))]
    size, count = math.prod(int(dim) for dim in type_.dims[1:]), len(field.columns)
    if not pairs:
        return RawColumns(field.columns) if size == count else None
    step, state = pairs[-1]
    fills: list[str | None] = [None] * count
    if len(pairs) == 2 and pairs[0][0].name == "impute":
        if not pairs[0][1]["drop"]:
            fills = [label_of(fill) for fill in pairs[0][1]["fill"]]
    elif len(pairs) > 1:
        return None
    if step.name not in _LABELS or len(fills) != count:
        return None
    return _labels(field, step, state, fills, type_)


def _labels(
    field: FieldSpec, step: StepSpec, state: State, fills: Sequence[str | None], type_: Type
) -> RawColumns | None:
    """Columns of labels. A text without a place gets zeros from `one_hot`.

    `classes` gives it the number after the last class, which no table of embeddings has: onnxruntime refuses it.
    """
    labels, size = state["classes"], math.prod(int(dim) for dim in type_.dims[1:])
    places = len(labels) + bool(state.get("unknown"))
    width = None
    if step.name == "one_hot":
        width = places if size == len(field.columns) * places else int(type_.dims[-1])
    if size != len(field.columns) * (width or 1):
        return None
    other = len(labels) if state.get("unknown") or width is None else -1
    numbers = {label: i for i, label in enumerate(labels)}
    codes = tuple(numbers if fill is None else {**numbers, "": numbers.get(fill, other)} for fill in fills)
    return RawColumns(field.columns, codes, other, width)


def _notes(asked: Exported, raw: Mapping[str, RawColumns]) -> dict[str, str]:
    """A note for each column."""
    notes: dict[str, str] = {}
    for name, columns in raw.items():
        fills = asked.facts.get("fills", {}).get(name, {})
        for column in columns.columns:
            kind = f"a text, as `labels.{name}` has them" if columns.codes else "a number"
            missing = f"; {'empty' if columns.codes else 'NaN'} where it is missing" if column in fills else ""
            notes[column] = f"column {column}: {kind}{missing}"
    return notes
