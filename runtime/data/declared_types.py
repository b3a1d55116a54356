"""Compares declared types with the data where shapes of the model do not fit: the data's shape is often the cause.

A wrong `input x: float[1, 28, 28]` shows as an error of the first layer that reads x. Reads the data only after one.
"""

import os
from collections.abc import Iterator
from typing import Any

from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.definitions import constants_of
from netc.compiler.elaborate.elaborator import ClassCounter, examine
from netc.compiler.ir.types import Type
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault
from netc.dsl.source import Source
from netc.dsl.structs import replace
from netc.runtime.data import windows
from netc.runtime.data.block.declarations import DataSpec
from netc.runtime.data.block.spec import parse_block
from netc.runtime.data.conversion import WITHOUT_WARNINGS, convert, convert_windows
from netc.runtime.data.division.partition import read_parts
from netc.runtime.data.pipeline import Part, fit_steps, resolved
from netc.runtime.data.readers.sources import paths_of

_CONSEQUENCES = ("E0401", "E0402", "E0403", "E0404", "E0406")  # what a wrong type of an input leads to
_CAUSES = ("E0804", "E0805")
_MOST_BYTES = 1 << 26
_ROWS = 256  # which suffice to see the shape of a sample


@WITHOUT_WARNINGS
def caused_by_data(error: Fault, file: syntax.File, constants: dict[str, Any], count: ClassCounter) -> Fault:
    """The fault of a model; one that says which declared types differ from the data, if some do, in place of the
    faults of shapes that follow from them."""
    block = next((item for item in file.items if isinstance(item, syntax.Data)), None)
    if block is None or not any(diagnostic.code in _CONSEQUENCES for diagnostic in error.diagnostics):
        return error
    try:
        context, _ = examine(file, constants, count)
        spec = parse_block(file.source, block, constants_of(context))
        causes = [*_misfits(spec, file, context)] if _is_small(spec, file.source) else []
    except Fault:  # the data itself is wrong, which is shown once the model is right
        return error
    others = [diagnostic for diagnostic in error.diagnostics if diagnostic.code not in _CONSEQUENCES]
    return Fault([*causes, *others]) if causes else error


def _is_small(spec: DataSpec, source: Source) -> bool:
    """Whether the data is read in a moment, so that a mistyped shape does not take longer to report than to mend."""
    files = filter(os.path.isfile, paths_of(spec.source, source.folder))
    return sum(map(os.path.getsize, files)) <= _MOST_BYTES


def _misfits(spec: DataSpec, file: syntax.File, context: Context) -> Iterator[Diagnostic]:
    """A message for each input and target whose type differs from the data's."""
    types = {**context.inputs, **context.targets}
    label = next((name for name, type_ in context.targets.items() if type_.classes is not None), None)
    training = read_parts(spec, file.source, label)["train"]
    spec = resolved(spec, training.table)
    for name, type_ in types.items():
        if name in spec.fields:
            try:
                _convert(replace(spec, fields={name: spec.fields[name]}), name, type_, training, context)
            except Fault as error:
                yield from (diagnostic for diagnostic in error.diagnostics if diagnostic.code in _CAUSES)


def _convert(spec: DataSpec, name: str, type_: Type, training: Part, context: Context) -> None:
    """Converts the first rows of a field to the declared type. Raises the Fault of a type that does not fit."""
    field, declared = replace(spec.fields[name], is_target=name in context.targets), context.declared[name]
    is_series = windows.is_series([field])
    field = replace(field, is_sequence=type_.is_varying and not is_series)
    states = fit_steps(field, training)
    if is_series:
        starts = training.window_starts([windows.cut_of(field)], "train", spec.split.span)
        convert_windows(field, states, training, starts[:_ROWS], type_, declared, proposes_type=True)
    else:
        convert(field, states, replace(training, rows=training.rows[:_ROWS]), type_, declared, proposes_type=True)
