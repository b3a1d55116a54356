"""Reads new data for a trained model: inputs, by the steps that its run fitted, or values that a prediction wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netc.compiler.ir.types import Type
from netc.dsl.source import Span
from netc.runtime.data import windows
from netc.runtime.data.conversion import WITHOUT_WARNINGS, convert, convert_windows
from netc.runtime.data.data_step import State
from netc.runtime.data.declarations import DataSpec, FieldSpec, SourceSpec
from netc.runtime.data.lengths import long_enough, same_lengths
from netc.runtime.data.partition import part_of, series_in, uses_of, with_words
from netc.runtime.data.pipeline import Part
from netc.runtime.data.readers import read, reader_of
from netc.runtime.data.stored import Field

if TYPE_CHECKING:
    from netc.compiler.model import Model


@dataclass(frozen=True, slots=True)
class Fitted:
    """The data block with the fitted states of its steps, by which new data is read, and where inputs are declared.

    Relative paths start from `folder`.
    """

    folder: Path
    spec: DataSpec
    states: Mapping[str, list[State]]
    declared: Mapping[str, Span]


def read_inputs(
    model: "Model", spec: DataSpec, states: Mapping[str, list[State]], source: SourceSpec, inputs: Sequence[str]
) -> dict[str, Field]:
    """The named inputs of new data, by the steps that a run fitted.

    Every row is kept, even where `impute(drop)` on a target would leave it out: new data has no target.
    """
    types = {name: model.inputs[name] for name in inputs}
    fields, part = read_fields(Fitted(model.source.folder, spec, states, model.declared), source, types)
    if not windows.is_series(spec.fields.values()):
        same_lengths(model, fields, part.row_numbers, part.table.name)
        long_enough(model, fields, part.row_numbers, part.table.name)
    return fields


@WITHOUT_WARNINGS
def read_fields(fitted: Fitted, source: SourceSpec, types: Mapping[str, Type]) -> tuple[dict[str, Field], Part]:
    """The fields of these types, and the rows that they were read from.

    The lengths of sequences are not compared with each other, nor with what the model needs.
    """
    spec, states, declared = fitted.spec, fitted.states, fitted.declared
    path = fitted.folder / source.path
    reader = reader_of(path, source.reader)
    options = dict(source.options) if reader == source.reader else {}
    table = read(reader, path, source.path, source.span, uses_of(spec, types), options)
    table = with_words(table, spec)
    part = part_of(table, np.arange(len(table)), series_in(table, spec))
    if windows.is_series(spec.fields.values()):
        cuts = [windows.cut_of(spec.fields[name]) for name in types]
        starts = part.window_starts(cuts, source.path, source.span)
        return {
            name: convert_windows(spec.fields[name], states[name], part, starts, type_, declared[name])
            for name, type_ in types.items()
        }, part
    fields: dict[str, Field] = {}
    for name, type_ in types.items():
        field = replace(spec.fields[name], is_sequence=type_.is_varying)
        fields[name] = convert(field, states[name], part, type_, declared[name])
    return fields, part


def read_values(model: "Model", names: Sequence[str], source: SourceSpec) -> dict[str, Field]:
    """Values of the model as a prediction wrote them: in a column `NAME`, in columns `NAME[0]`, `NAME[1]`, ..., or as
    sequences.
    """
    if not names:
        return {}
    path = model.source.folder / source.path
    table = read(reader_of(path, source.reader), path, source.path, source.span)
    part = Part(table, np.arange(len(table)))
    return {name: _read_value(model, name, part, source) for name in names}


def _read_value(model: "Model", name: str, part: Part, source: SourceSpec) -> Field:
    type_ = model.values[name].type
    if name in part.table.columns or f"{name}[0]" not in part.table.columns:
        field = FieldSpec(name, (name,), True, (), source.span, is_sequence=type_.is_varying)
        return convert(field, [], part, type_, source.span)
    size = type_.size(1)
    columns = tuple(f"{name}[{i}]" for i in range(size))
    field = FieldSpec(name, columns, False, (), source.span, is_sequence=type_.is_varying)
    flat = replace(type_, dims=(*type_.dims[:1], size))
    return np.asarray(convert(field, [], part, flat, source.span)).reshape(type_.shape(len(part.rows)))
