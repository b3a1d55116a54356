"""Reads the tables of a `data` block and divides their rows into parts: train, valid, test, calibration."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from netc.dsl.diagnostics import Diagnostic, Label, fault
from netc.dsl.plural import counted
from netc.dsl.quoting import cell
from netc.dsl.source import Source
from netc.dsl.structs import replace
from netc.runtime.data import windows
from netc.runtime.data.block.declarations import DataSpec, FieldSpec, SourceSpec
from netc.runtime.data.division.split import chunks_of, class_numbers, divide
from netc.runtime.data.pipeline import Part, columns_of, shape_of_pictures
from netc.runtime.data.readers.request import Use, Uses
from netc.runtime.data.readers.sources import ReadSource, read_source
from netc.runtime.data.series import Series, series_of, series_spec
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import is_missing
from netc.runtime.data.tables.columns import TextColumn
from netc.runtime.data.tables.table import Table

if TYPE_CHECKING:
    from netc.compiler.model import Model


def read_parts(spec: DataSpec, source: Source, label: str | None, read: ReadSource = read_source) -> dict[str, Part]:
    """The parts by name. `label` is the target whose classes a random split distributes evenly.

    Raises E0806 if a part has no rows, and what `read` raises.
    """
    sources = dict(spec.split.sources)
    table, rows = _read_table(spec.source, spec, source, read)
    parts = _divided(table, rows, spec, label)
    if "train" in sources and sources["train"] is not spec.source:
        parts.pop("train", None)
    pictures = shape_of_pictures(spec.source, table)
    for name, origin in sources.items():
        if name not in parts:
            table, rows = _read_table(origin, spec, source, read, pictures)
            parts[name] = part_of(table, rows, series_in(table, spec))
    for name, part in parts.items():
        if not len(part.rows):
            _refuse_empty(name, parts, spec, spec.fields.get(label or ""))
    return parts


def _divided(table: Table, rows: Array, spec: DataSpec, label: str | None) -> dict[str, Part]:
    """The parts that the split makes of some rows of a table. An ordered split divides each series, if the data block
    names them.
    """
    groups = None
    series = series_in(table, spec)
    if series is None and spec.series is not None and spec.split.follows_order:
        in_time, groups, _ = series_of(table, spec).sorted(rows)
        rows_by_part = divide(table, in_time, spec, None, groups)
        return {name: Part(table, np.sort(rows)) for name, rows in rows_by_part.items()}
    if series is not None:
        rows, groups, _ = series.sorted(rows)
    rows_by_part = divide(table, rows, spec, spec.fields.get(label or ""), groups)
    return {name: part_of(table, rows, series) for name, rows in rows_by_part.items()}


def series_in(table: Table, spec: DataSpec) -> Series | None:
    """The series that windows of a table are cut from; None if the data block has no windows."""
    return series_of(table, spec) if windows.is_series(spec.fields.values()) else None


def part_of(table: Table, rows: Array, series: Series | None) -> Part:
    """Some rows of a table as a part: in the order of its series, if there are any."""
    if series is None:
        return Part(table, rows)
    rows, _, stretches = series.sorted(rows)
    return Part(table, rows, stretches)


def _refuse_empty(name: str, parts: Mapping[str, Part], spec: DataSpec, label: FieldSpec | None) -> NoReturn:
    """Raises E0806 for a part without rows, with the reason."""
    rows = sum(len(part.rows) for part in parts.values())
    note, hint = f"the data has {counted(rows, 'row')}", "a larger fraction, or more data"
    training = parts.get("train")
    if spec.split.keeps_groups:
        column = f"`{spec.split.column}`"
        note = f"{note}; those with the same {column} stay together, for training if no others have a class"
        hint = "a larger fraction, or more groups"
    elif spec.split.way == "random" and label is not None and training is not None:
        classes = class_numbers(training.table, training.rows, label)
        if classes is not None and 2 * (classes.max(initial=-1) + 1) > rows:
            count = int(classes.max(initial=-1)) + 1
            note = f"{note} and {count} class{'es' * (count != 1)}; each class keeps a row in training"
            hint = f"is `{label.columns[0]}` a label, or does it identify the row?"
    fault("E0806", f"the part `{name}` has no rows", spec.split.span, note, hint=hint)


def _read_table(
    origin: SourceSpec,
    spec: DataSpec,
    source: Source,
    read: ReadSource,
    pictures: tuple[int, int, int] | None = None,
) -> tuple[Table, Array]:
    """The table of a source, and the rows of it that are used. `pictures` is the shape of those in other parts."""
    if pictures is not None and origin.reader == "images":
        origin = replace(origin, options=(*origin.options, ("shape", pictures)))
    table = with_words(read(origin, source.folder, uses_of(spec, spec.fields)), spec)
    rows, warnings = _kept_rows(table, spec)
    return replace(table, warnings=(*table.warnings, *warnings)), rows


def with_words(table: Table, spec: DataSpec) -> Table:
    """A table of a text's characters, as one of its words if a field of the series asks for words."""
    uses_words = any(step.name == "words" for field in spec.fields.values() for step in field.steps)
    if not uses_words or not windows.is_series(spec.fields.values()) or "text" not in table.columns:
        return table
    words = "".join(table.column("text", spec.span)[np.arange(len(table))]).split()
    return replace(table, columns={"text": TextColumn.of(words)})


def uses_of(spec: DataSpec, names: Iterable[str]) -> Uses:
    """A function that says of a column what the fields of these names, the split and the series need it for."""
    series = series_spec(spec)
    uses: dict[str | None, Use] = {series.time: Use.TEXT if series.has_dates else Use.NUMBERS}
    uses |= {spec.split.column: Use.LABELS, series.column: Use.LABELS}
    rest: list[tuple[FieldSpec, Use]] = []  # fields `columns(all, except = ...)`
    for field in (spec.fields[name] for name in names):
        purpose = _use_of(field)
        if field.is_rest:
            rest.append((field, purpose))
        else:
            uses |= {column: uses.get(column, Use(0)) | purpose for column in field.columns}

    def use(column: str) -> Use:
        from_rest = (purpose for field, purpose in rest if column not in field.columns)
        return reduce(or_, from_rest, uses.get(column, Use(0)))

    return use


def _use_of(field: FieldSpec) -> Use:
    """The uses that the steps of a field have for its cells."""
    steps = [STEPS[step.name] for step in field.steps]
    if any(step.takes_labels for step in steps) and not any(step.makes_sequences for step in steps):
        return Use.LABELS
    if any(step.takes_text for step in steps):
        return Use.TEXT
    is_counted = any(step.name == "impute" and step.arguments == ("mode",) for step in field.steps)
    return Use.NUMBERS | Use.LABELS if is_counted else Use.NUMBERS


def _kept_rows(table: Table, spec: DataSpec) -> tuple[Array, list[Diagnostic]]:
    """The numbers of all rows, except for those without a label, and those that an `impute(drop)` leaves out.

    Also returns a warning for each target that some rows lack. A file in which every row lacks it is a fault when the
    labels are read.
    """
    is_kept = np.ones(len(table), bool)
    warnings: list[Diagnostic] = []
    lacks: list[tuple[int, FieldSpec]] = []  # how many rows a field leaves out
    for field in spec.fields.values():
        is_label = _is_label(field, spec)
        if not is_label and not any(step.name == "impute" and step.arguments == ("drop",) for step in field.steps):
            continue
        lacking = _lacking(table, field)
        if is_label and lacking.all():
            continue
        if is_label and lacking.any():
            warnings.append(_unlabelled_warning(table, field, np.flatnonzero(lacking)))
        is_kept &= ~lacking
        lacks.append((int(lacking.sum()), field))
    if lacks and not is_kept.any():
        _refuse_no_rows(table, lacks)
    return np.flatnonzero(is_kept), warnings


def _refuse_no_rows(table: Table, lacks: Sequence[tuple[int, FieldSpec]]) -> NoReturn:
    """Raises E0806 for a table of which no row is left, at the field that leaves out most; `lacks` says how many."""
    count, field = max(lacks, key=lambda lack: lack[0])
    note = f"a cell is missing in {count:,} of {len(table):,} rows of `{table.name}`"
    hint = f"a step that fills them in place of impute(drop), or `{field.name}` without the columns that are empty"
    fault("E0806", "no row is left", field.span, note, hint=hint)


def _is_label(field: FieldSpec, spec: DataSpec) -> bool:
    """Whether rows without a cell of this field are left out: nothing can be learnt from a row without its label.

    A step `impute` decides otherwise, and the rows of a series belong together.
    """
    is_imputed = any(step.name == "impute" for step in field.steps)
    return field.is_target and not is_imputed and not windows.is_series(spec.fields.values())


def _lacking(table: Table, field: FieldSpec) -> Array:
    """True for the rows in which a cell of a field is missing."""
    lacking = np.zeros(len(table), bool)
    for name in columns_of(field, table):
        column = table.column(name, field.span)
        for rows in chunks_of(np.arange(len(table))):
            lacking[rows] |= is_missing(column[rows]).reshape(len(rows), -1).any(axis=1)
    return lacking


def _unlabelled_warning(table: Table, field: FieldSpec, rows: Array) -> Diagnostic:
    """The warning W0803 for a target that these rows of a table lack."""
    columns = " or ".join(f"`{cell(name)}`" for name in columns_of(field, table))
    number = Part(table, rows[:1]).row_numbers[0]
    label = f"{columns} is empty in {len(rows):,} of {len(table):,} rows of `{table.name}`, first in row {number}"
    fact = f"rows without a label `{field.name}` are left out"
    return Diagnostic("W0803", fact, Label(field.span, label), hint="impute(drop) says so in the file")


def stratifying_target(model: "Model") -> str | None:
    """The first target that is one class a sample: a random split gives each part the same share of every class."""
    return next((name for name, type_ in model.targets.items() if type_.classes is not None and not type_.sample), None)
