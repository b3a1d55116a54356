"""The inputs of an exported ONNX file that can be its raw columns, and how; for the others, the reason.

A field can, if its steps are `impute`, then `classes`, `one_hot` or `vocabulary`, then arithmetic, which is part of
every file. So can numbers and dates, and their buckets: the file takes values where `number` and `date` read texts.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import takewhile

from netc.compiler.export.exportable import Exported, RawColumns
from netc.compiler.ir.types import Type
from netc.dsl.structs import replace
from netc.runtime.data.block.declarations import FieldSpec, StepSpec
from netc.runtime.data.steps.data_step import State
from netc.runtime.data.tables.cell_text import label_of
from netc.runtime.export.described import is_picture
from netc.runtime.graph_steps import arithmetic_steps
from netc.runtime.runs.run import Run

Pairs = Sequence[tuple[StepSpec, State]]
_LABELS = ("classes", "one_hot", "vocabulary")
_REWRITING = ("strip", "lowercase", "normalize_unicode")  # ONNX has no words for all of Unicode
_VALUES = ("number", "date")  # steps that read a text, of which the file takes the value


def with_columns(run: Run, asked: Exported) -> tuple[Exported, dict[str, str]]:
    """The same file with raw columns as inputs where possible, and for each other input what is left to do."""
    raw: dict[str, RawColumns] = {}
    left: dict[str, str] = {}
    kinds: dict[str, str] = {}  # by column
    for name, type_ in asked.inputs.items():
        field = run.spec.fields.get(name) if name in run.model.inputs else None
        columns = None if field is None or is_picture(run, field) else _columns(run, field, type_)
        if columns is None or any(kinds.get(column, columns.kind) != columns.kind for column in columns.columns):
            left[name] = asked.notes.get(name, "an inner value of the model")
            continue
        kinds |= dict.fromkeys(columns.columns, columns.kind)
        raw[name] = columns
    notes = {name: note for name, note in asked.notes.items() if name not in raw}
    steps = {name: entry for name, entry in asked.facts.get("steps", {}).items() if name not in raw}
    facts = {**asked.facts, "steps": steps}
    return replace(asked, raw=raw, facts=facts, notes={**notes, **_notes(asked, raw)}), left


def _columns(run: Run, field: FieldSpec, type_: Type) -> RawColumns | None:
    """The way in which the columns of a field become an input of this type; None if ONNX cannot express its steps."""
    states = run.states[field.name]
    if type_.is_varying or any(step.name == "window" for step in field.steps):
        return None
    pairs = [*zip(field.steps, states, strict=True)]
    pairs = pairs[: len(pairs) - len(arithmetic_steps(field, states))]
    rewritten = [*takewhile(lambda pair: pair[0].name in _REWRITING, pairs)]
    steps = [step.name for step, _ in pairs[len(rewritten) :]]
    if steps and (steps[-1] in _LABELS and set(steps[:-1]) <= {"impute"}):
        columns = _of_texts(field, pairs[len(rewritten) :], type_)
        left = tuple(step.span.text for step, _ in rewritten)
        return columns if columns is None else replace(columns, left=left)
    if rewritten and (not steps or steps[0] not in _VALUES):
        return None
    return _of_numbers(field, pairs[len(rewritten) :], type_)


def _of_texts(field: FieldSpec, pairs: Pairs, type_: Type) -> RawColumns | None:
    """Columns of labels, whose missing ones may be filled."""
    count = len(field.columns)
    fills: list[str | None] = [None] * count
    if len(pairs) > 2:
        return None
    if len(pairs) == 2 and not pairs[0][1]["drop"]:
        fills = [label_of(fill) for fill in pairs[0][1]["fill"]]
    return _labels(field, *pairs[-1], fills, type_) if len(fills) == count else None


def _of_numbers(field: FieldSpec, pairs: Pairs, type_: Type) -> RawColumns | None:
    """Columns of numbers or dates, and the buckets of numbers, which may be labels."""
    size, count = math.prod(int(dim) for dim in type_.dims[1:]), len(field.columns)
    columns, pending = RawColumns(field.columns), [*pairs]
    if pending and pending[0][0].name in _VALUES:
        step, state = pending.pop(0)
        columns = replace(columns, is_date=step.name == "date", has_time="format" in state)
    if not pending:
        return columns if size == count else None
    if pending[0][0].name == "impute":
        state = pending.pop(0)[1]
        if any(isinstance(fill, str) for fill in state["fill"]) and not state["drop"]:
            return None
        columns = replace(columns, fills=() if state["drop"] else tuple(map(float, state["fill"])))
    if not pending or pending[0][0].name != "bucket":
        return None
    edges = pending.pop(0)[1]["edges"]
    columns = replace(columns, edges=tuple(map(tuple, edges)))
    if not pending:
        return columns if size == count else None
    step, state = pending.pop(0)
    if pending or step.name not in ("classes", "one_hot"):
        return None
    labels = _labels(field, step, state, [None] * count, type_)
    if labels is None:
        return None
    numbers = [labels.codes[0].get(str(bucket), labels.other) for bucket in range(len(edges[0]) + 1)]
    return replace(columns, positions=tuple(numbers), other=labels.other, width=labels.width)


def _labels(
    field: FieldSpec, step: StepSpec, state: State, fills: Sequence[str | None], type_: Type
) -> RawColumns | None:
    """Columns of labels. A text without a place gets zeros from `one_hot`.

    `classes` gives it the number after the last class, which no table of embeddings has: onnxruntime refuses it.
    """
    labels = state["tokens"] if step.name == "vocabulary" else state["classes"]
    size = math.prod(int(dim) for dim in type_.dims[1:])
    count = len(labels) + bool(state.get("unknown"))
    width = None
    if step.name == "one_hot":
        width = count if size == len(field.columns) * count else int(type_.dims[-1])
    if size != len(field.columns) * (width or 1):
        return None
    other = 0 if step.name == "vocabulary" else len(labels) if state.get("unknown") or width is None else -1
    numbers = {label: i for i, label in enumerate(labels)}
    codes = tuple(numbers if fill is None else {**numbers, "": numbers.get(fill, other)} for fill in fills)
    return RawColumns(field.columns, codes, other, width)


def _notes(asked: Exported, raw: Mapping[str, RawColumns]) -> dict[str, str]:
    """A note for each column."""
    notes: dict[str, str] = {}
    for name, columns in raw.items():
        fills = asked.facts.get("fills", {}).get(name, {})
        after = f", after {' -> '.join(columns.left)}" if columns.left else ""
        kinds = {
            "text": f"a text{after}, as `labels.{name}` has them",
            "date": "seconds since 1970-01-01 in UTC, of a date those of its midnight",
            "number": "a number, without its unit and marks between thousands",
        }
        for column in columns.columns:
            missing = f"; {'empty' if columns.codes else 'NaN'} where it is missing" if column in fills else ""
            notes[column] = f"column {column}: {kinds[columns.kind]}{missing}"
    return notes
