"""New data for a trained model: inputs, and values of the model as a prediction wrote them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from netc.compiler.model import Model
from netc.runtime.data import windows
from netc.runtime.data.conversion import IGNORE_OVERFLOW, convert, windows_of
from netc.runtime.data.data_step import State
from netc.runtime.data.declarations import DataSpec, FieldSpec, SourceSpec
from netc.runtime.data.lengths import long_enough, same_lengths
from netc.runtime.data.partition import text_columns, with_words
from netc.runtime.data.readers import read, reader_of
from netc.runtime.data.stored import Field


@IGNORE_OVERFLOW
def read_inputs(
    model: Model, spec: DataSpec, states: Mapping[str, list[State]], source: SourceSpec, inputs: Sequence[str]
) -> dict[str, Field]:
    """Those inputs of new data, by the steps that a run fitted. Rows with what a target needs missing are kept: a prediction has no target."""
    types = {name: model.inputs[name] for name in inputs}
    path = model.source.folder / source.path
    table = with_words(
        read(reader_of(path, source.reader), path, source.path, source.span, text_columns(spec), dict(source.options)),
        spec,
    )
    rows = np.arange(len(table))
    if windows.is_series(spec.fields.values()):
        cuts = [windows.cut_of(spec.fields[name]) for name in types]
        begins = windows.starts(cuts, len(rows), source.path, source.span)
        return {
            name: windows_of(spec.fields[name], states[name], table, rows, type_, model.declared[name], begins)
            for name, type_ in types.items()
        }
    found: dict[str, Field] = {}
    for name, type_ in types.items():
        one = replace(spec.fields[name], is_sequence=type_.is_varying)
        found[name] = convert(one, states[name], table, rows, type_, model.declared[name])
    same_lengths(model, found)
    long_enough(model, found, rows + table.first_row, table.name)
    return found


def read_values(model: Model, names: Sequence[str], source: SourceSpec) -> dict[str, Field]:
    """Values of the model as a prediction wrote them: a column `NAME`, or `NAME[0]`, `NAME[1]`, ..., or a cell a sequence."""
    found: dict[str, Field] = {}
    if not names:
        return found
    path = model.source.folder / source.path
    table = read(reader_of(path, source.reader), path, source.path, source.span)
    rows = np.arange(len(table))
    for name in names:
        type_ = model.values[name].type
        size = type_.size(1)
        is_wide = name not in table.columns and f"{name}[0]" in table.columns
        columns = tuple(f"{name}[{i}]" for i in range(size)) if is_wide else (name,)
        one = FieldSpec(name, columns, not is_wide, (), source.span, is_sequence=type_.is_varying)
        flat = replace(type_, dims=(*type_.dims[:1], size)) if is_wide else type_
        values = convert(one, [], table, rows, flat, source.span)
        found[name] = np.asarray(values).reshape(type_.shape(len(rows))) if is_wide else values
    return found
