"""Reads new data for a trained model: inputs, by the steps that its run fitted, or values that a prediction wrote.

Rows that a step refuses are left out and named, and the others are used, unless the reader is strict. Commands and
Python programs read only through `read_fields`, so that both give the same bits.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from netc.compiler.ir.types import Type
from netc.dsl.source import Source, Span
from netc.dsl.structs import replace
from netc.runtime.data import windows
from netc.runtime.data.block.declarations import DataSpec, FieldSpec, SourceSpec
from netc.runtime.data.conversion import WITHOUT_WARNINGS, convert, convert_windows
from netc.runtime.data.division.partition import part_of, series_in, uses_of, with_words
from netc.runtime.data.lengths import Samples, long_enough, same_lengths
from netc.runtime.data.pipeline import Part
from netc.runtime.data.readers.readers import read
from netc.runtime.data.readers.request import Use, Uses
from netc.runtime.data.steps.data_step import State
from netc.runtime.data.steps.remarks import Remarks
from netc.runtime.data.stored import Array, Field, Ragged, taken
from netc.runtime.data.tables.cells import BadRows, RowFault, RowProblem
from netc.runtime.data.tables.table import Table

if TYPE_CHECKING:
    from netc.compiler.model import Model


IsKept = Callable[[str], bool]  # whether a column is asked for besides those that fields read


class Fitted(Struct, frozen=True):
    """The data block with the fitted states of its steps, by which new data is read, and where inputs are declared.

    Relative paths start from `folder`.
    """

    folder: Path
    spec: DataSpec
    states: Mapping[str, list[State]]
    declared: Mapping[str, Span]


class NewData(Struct, frozen=True):
    """New data as far as it can be used.

    `fields` hold the samples with the numbers `used`, out of `count`. `rows` are the rows of the table that the samples
    stand for: of a window, the last row that the inputs read. `problems` name the rows that are left out, in the order
    of the file, and `remarks` are about cells that are used all the same.
    """

    table: Table
    fields: dict[str, Field]
    used: Array
    rows: Array
    problems: tuple[RowProblem, ...]
    remarks: Remarks

    @property
    def count(self) -> int:
        """The number of samples, used or not."""
        return len(self.rows)


def source_of(spec: DataSpec, path: Path, reader: str, span: Span) -> SourceSpec:
    """A file of new data as a source: it has those options of the data block's source that its reader has too."""
    options = spec.source.options
    if reader != spec.source.reader:
        from netc.runtime.data.readers.options import OPTIONS

        options = tuple(option for option in options if option[0] in OPTIONS.get(reader, {}))
    return SourceSpec(reader, str(path), span, options)


def read_table(fitted: Fitted, source: SourceSpec, shown: str, names: Sequence[str], is_kept: IsKept) -> Table:
    """The table of a file of new data, called `shown` in messages: the columns of the fields and inner values with
    these names, and those that `is_kept` asks for besides.
    """
    options, spec = dict(source.options), fitted.spec
    if spec.pictures is not None and source.reader == "images":
        options["shape"] = spec.pictures
    if spec.dialect is not None and source.reader == "csv":
        options["training"] = spec.dialect
        fields = [spec.fields[name] for name in names if name in spec.fields]
        options["expected"] = tuple(dict.fromkeys(column for field in fields for column in field.columns))
    path, uses = fitted.folder / source.path, uses_of_new(spec, names, is_kept)
    return read(source.reader, path, shown, source.span, uses, options, BadRows())


def uses_of_new(spec: DataSpec, names: Sequence[str], is_kept: IsKept = lambda column: False) -> Uses:
    """The uses of columns of new data: for the fields and the inner values with these names, and where `is_kept`."""
    uses = uses_of(spec, [name for name in names if name in spec.fields])
    inner = [name for name in names if name not in spec.fields]

    def use(column: str) -> Use:
        is_inner = any(column == name or column.startswith(f"{name}[") for name in inner)
        return uses(column) or (Use.NUMBERS if is_inner else Use.TEXT if is_kept(column) else Use(0))

    return use


@WITHOUT_WARNINGS
def read_fields(
    fitted: Fitted,
    table: Table,
    types: Mapping[str, Type],
    values: Mapping[str, Type] | None = None,
    is_strict: bool = False,
) -> NewData:
    """The inputs of these types, and inner values of the model as a prediction wrote them.

    Every row is kept, even where `impute(drop)` on a target would leave it out: new data has no target. The lengths of
    sequences are not compared with each other, nor with what the model needs. Raises E0802, E0803, E0804 and E0805 if
    no row can be used, and with `is_strict` at the first that cannot.
    """
    spec = fitted.spec
    table = with_words(table, spec)
    bad = BadRows()
    if table.bad_rows is not None and table.bad_rows.first is not None:
        if is_strict:
            raise table.bad_rows.first
        bad = replace(table.bad_rows, problems=dict(table.bad_rows.problems))
    part = part_of(table, np.arange(len(table)), series_in(table, spec) if types else None)
    part = replace(part, bad_rows=None if is_strict else bad)
    if types and windows.is_series(spec.fields.values()):
        samples = _windows(fitted, types, part)
    else:
        samples = _rows(fitted, types, values or {}, part)
    fields, rows, is_used = samples.fields, samples.rows, samples.is_used(bad.among(part.row_numbers))
    used = np.flatnonzero(is_used)
    if bad.first is not None and not len(used):
        raise bad.first
    if len(used) < len(rows):
        fields = {name: taken(field, used) for name, field in fields.items()}
    return NewData(table, fields, used, rows, bad.in_order(), part.remarks)


class _Samples(Struct, frozen=True):
    """Fields of new data. A sample stands for one of `rows`, and reads the rows of the data from `firsts` to `ends`
    (exclusive)."""

    fields: dict[str, Field]
    rows: Array
    firsts: Array
    ends: Array

    def is_used(self, is_bad: Array) -> Array:
        """Whether a sample reads no bad row, for each sample; `is_bad` says it for each row of the data."""
        bad_before = np.concatenate([[0], np.cumsum(is_bad)])
        return np.asarray(bad_before[self.ends] == bad_before[self.firsts])


def _windows(fitted: Fitted, types: Mapping[str, Type], part: Part) -> _Samples:
    """The windows of a series, each of which stands for the last row that its inputs read."""
    cuts = [windows.cut_of(fitted.spec.fields[name]) for name in types]
    starts = part.window_starts(cuts, part.table.name, _start_of(part.table))
    fields = {
        name: convert_windows(fitted.spec.fields[name], fitted.states[name], part, starts, type_, fitted.declared[name])
        for name, type_ in types.items()
    }
    first, reach = min(cut.first for cut in cuts), max(cut.reach for cut in cuts)
    return _Samples(fields, part.rows[starts + reach - 1], starts + first, starts + reach)


def _rows(fitted: Fitted, types: Mapping[str, Type], values: Mapping[str, Type], part: Part) -> _Samples:
    """A sample for each row: its inputs, and inner values of the model."""
    fields = {
        name: convert(
            replace(fitted.spec.fields[name], is_sequence=type_.is_varying),
            fitted.states[name],
            part,
            type_,
            fitted.declared[name],
        )
        for name, type_ in types.items()
    }
    fields |= {name: _read_value(name, type_, part, _start_of(part.table)) for name, type_ in values.items()}
    numbers = np.arange(len(part.rows))
    return _Samples(fields, part.rows, numbers, numbers + 1)


def _start_of(table: Table) -> Span:
    return Span(Source(table.name, ""), 0, 0)


def fitting_lengths(model: "Model", data: NewData, is_strict: bool = False) -> NewData:
    """New data without the samples whose lengths do not fit the model, or each other.

    Raises E0804 if no sample is left, and with `is_strict` at the first that does not fit.
    """
    if not any(isinstance(field, Ragged) for field in data.fields.values()):
        return data
    numbers = Part(data.table, np.arange(len(data.table))).row_numbers
    while True:
        samples = Samples(data.table, data.rows[data.used])
        rows = numbers[samples.rows]
        try:
            same_lengths(model, data.fields, samples)
            long_enough(model, data.fields, samples)
            return data
        except RowFault as error:
            is_kept = ~np.isin(rows, [problem.row for problem in error.problems])
            if is_strict or not is_kept.any():
                raise
            fields = {name: taken(field, np.flatnonzero(is_kept)) for name, field in data.fields.items()}
            problems = sorted((*data.problems, *error.problems), key=lambda problem: problem.row)
            data = replace(data, fields=fields, used=data.used[is_kept], problems=tuple(problems))


def _read_value(name: str, type_: Type, part: Part, span: Span) -> Field:
    """A value of the model, from a column `NAME`, from columns `NAME[0]`, `NAME[1]`, ..., or as sequences."""
    if name in part.table.columns or f"{name}[0]" not in part.table.columns:
        field = FieldSpec(name, (name,), True, (), span, is_sequence=type_.is_varying)
        return convert(field, [], part, type_, span)
    size = type_.size(1)
    columns = tuple(f"{name}[{i}]" for i in range(size))
    field = FieldSpec(name, columns, False, (), span, is_sequence=type_.is_varying)
    flat = replace(type_, dims=(*type_.dims[:1], size))
    return np.asarray(convert(field, [], part, flat, span)).reshape(type_.shape(len(part.rows)))


def inputs_and_values(model: "Model", names: Sequence[str]) -> tuple[dict[str, Type], dict[str, Type]]:
    """The types of the inputs among these names, and those of the inner values of the model."""
    inputs = {name: model.inputs[name] for name in names if name in model.inputs}
    return inputs, {name: model.values[name].type for name in names if name not in inputs}
