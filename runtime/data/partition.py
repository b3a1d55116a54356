"""The parts of a data set: which rows of which tables they are."""

from dataclasses import replace

import numpy as np

from netc.compiler.model import Model
from netc.dsl.diagnostics import fault
from netc.dsl.source import Source
from netc.runtime.data import windows
from netc.runtime.data.cells import is_missing
from netc.runtime.data.declarations import DataSpec, FieldSpec, SourceSpec
from netc.runtime.data.pipeline import columns_of
from netc.runtime.data.readers import read
from netc.runtime.data.split import chunks_of, divide
from netc.runtime.data.steps import STEPS
from netc.runtime.data.store import IsText
from netc.runtime.data.stored import Array
from netc.runtime.data.table import Table

Part = tuple[Table, Array]  # rows of a table


def divided_parts(spec: DataSpec, source: Source, label: str | None, seed: int) -> dict[str, Part]:
    """The rows of each part, in the split's order."""

    def table_of(one: SourceSpec) -> Table:
        path = source.folder / one.path
        return with_words(read(one.reader, path, one.path, one.span, text_columns(spec), dict(one.options)), spec)

    sources = dict(spec.split.sources)
    table = table_of(spec.source)
    divided = divide(table, _kept_rows(table, spec), spec, spec.fields.get(label or ""), seed)
    if "train" in sources and sources["train"] is not spec.source:
        divided.pop("train", None)
    parts: dict[str, Part] = {name: (table, chosen) for name, chosen in divided.items()}
    for name, part in sources.items():
        if name not in parts:
            other = table_of(part)
            parts[name] = (other, _kept_rows(other, spec))
    for name, (_, chosen) in parts.items():
        if not len(chosen):
            fault("E0806", f"the part `{name}` has no rows", spec.split.span, hint="a larger fraction, or more data")
    return parts


def with_words(table: Table, spec: DataSpec) -> Table:
    """A text's characters as its words, if a field asks for words."""
    asks = any(step.name == "words" for one in spec.fields.values() for step in one.steps)
    if not asks or not windows.is_series(spec.fields.values()) or "text" not in table.columns:
        return table
    found = "".join(table.column("text", spec.span)[np.arange(len(table))]).split()
    return replace(table, columns={"text": np.array(found, object)})


def text_columns(spec: DataSpec) -> IsText:
    """Which columns are wanted as they are written."""
    named: set[str] = {spec.split.column} if spec.split.column is not None else set()
    rest: list[FieldSpec] = []
    for one in spec.fields.values():
        if any(STEPS[step.name].takes_text or step.arguments == ("mode",) for step in one.steps):
            rest += [one] if one.is_rest else []
            named |= set() if one.is_rest else set(one.columns)
    return lambda column: column in named or any(column not in one.columns for one in rest)


def _kept_rows(table: Table, spec: DataSpec) -> Array:
    """All rows but those that an `impute(drop)` leaves out."""
    kept = np.ones(len(table), bool)
    for one in spec.fields.values():
        if any(step.name == "impute" and step.arguments == ("drop",) for step in one.steps):
            for name in columns_of(one, table):
                column = table.column(name, one.span)
                for rows in chunks_of(np.arange(len(table))):
                    kept[rows] &= ~is_missing(column[rows]).reshape(len(rows), -1).any(axis=1)
    return np.flatnonzero(kept)


def stratifying_target(model: Model) -> str | None:
    """The target that a split is stratified by."""
    return next((name for name, type_ in model.targets.items() if type_.classes is not None and not type_.sample), None)
