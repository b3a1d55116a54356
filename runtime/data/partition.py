"""Reads the tables of a `data` block and divides their rows into the parts train, valid and test."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.source import Source
from netc.runtime.data import windows
from netc.runtime.data.cells import is_missing
from netc.runtime.data.declarations import DataSpec, FieldSpec, SourceSpec
from netc.runtime.data.pipeline import Part, columns_of, shape_of_pictures
from netc.runtime.data.readers import read
from netc.runtime.data.split import chunks_of, divide
from netc.runtime.data.steps import STEPS
from netc.runtime.data.store import IsText
from netc.runtime.data.stored import Array
from netc.runtime.data.table import Table

if TYPE_CHECKING:
    from netc.compiler.model import Model


def read_parts(spec: DataSpec, source: Source, label: str | None, seed: int) -> dict[str, Part]:
    """The parts by name. `label` is the target whose classes a random split distributes evenly.

    Faults E0806 if a part has no rows.
    """
    sources = dict(spec.split.sources)
    table = _read_table(spec.source, spec, source)
    rows_by_part = divide(table, _kept_rows(table, spec), spec, spec.fields.get(label or ""), seed)
    if "train" in sources and sources["train"] is not spec.source:
        rows_by_part.pop("train", None)
    parts = {name: Part(table, rows) for name, rows in rows_by_part.items()}
    pictures = shape_of_pictures(spec.source, table)
    for name, origin in sources.items():
        if name not in parts:
            table = _read_table(origin, spec, source, pictures)
            parts[name] = Part(table, _kept_rows(table, spec))
    for name, part in parts.items():
        if not len(part.rows):
            fault("E0806", f"the part `{name}` has no rows", spec.split.span, hint="a larger fraction, or more data")
    return parts


def _read_table(
    origin: SourceSpec, spec: DataSpec, source: Source, pictures: tuple[int, int, int] | None = None
) -> Table:
    """The table of a source. `pictures` is the shape of those in other parts."""
    path, options = source.folder / origin.path, dict(origin.options)
    if pictures is not None and origin.reader == "images":
        options["shape"] = pictures
    table = read(origin.reader, path, origin.path, origin.span, text_columns(spec), options)
    return with_words(table, spec)


def with_words(table: Table, spec: DataSpec) -> Table:
    """A table of a text's characters, as one of its words if a field of the series asks for words."""
    uses_words = any(step.name == "words" for field in spec.fields.values() for step in field.steps)
    if not uses_words or not windows.is_series(spec.fields.values()) or "text" not in table.columns:
        return table
    words = "".join(table.column("text", spec.span)[np.arange(len(table))]).split()
    return replace(table, columns={"text": np.array(words, object)})


def text_columns(spec: DataSpec) -> IsText:
    """A function that says of a column's name whether its cells are needed as they are written, and not as numbers."""
    named: set[str] = {spec.split.column} if spec.split.column is not None else set()
    rest: list[FieldSpec] = []  # fields `columns(all, except = ...)`
    for field in spec.fields.values():
        if any(STEPS[step.name].takes_text or step.arguments == ("mode",) for step in field.steps):
            if field.is_rest:
                rest.append(field)
            else:
                named.update(field.columns)
    return lambda column: column in named or any(column not in field.columns for field in rest)


def _kept_rows(table: Table, spec: DataSpec) -> Array:
    """The numbers of all rows, except for those that an `impute(drop)` leaves out."""
    is_kept = np.ones(len(table), bool)
    for field in spec.fields.values():
        if any(step.name == "impute" and step.arguments == ("drop",) for step in field.steps):
            for name in columns_of(field, table):
                column = table.column(name, field.span)
                for rows in chunks_of(np.arange(len(table))):
                    is_kept[rows] &= ~is_missing(column[rows]).reshape(len(rows), -1).any(axis=1)
    return np.flatnonzero(is_kept)


def stratifying_target(model: "Model") -> str | None:
    """The first target that is one class a sample: a random split gives each part the same share of every class."""
    return next((name for name, type_ in model.targets.items() if type_.classes is not None and not type_.sample), None)
