"""What `netc predict` does: reads new data for a run, predicts, and writes the outputs as csv."""

import csv
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netc.commands.terminal import say
from netc.runtime.columns import columns_of

if TYPE_CHECKING:
    from netc.runtime.data.declarations import DataSpec, SourceSpec
    from netc.runtime.execution.fields import Fields
    from netc.runtime.runs.run import Run


@dataclass(frozen=True, slots=True)
class Selection:
    """The options of `netc predict` that select what is computed: by default all outputs, from the inputs."""

    outputs: list[str] | None = None
    provided: list[str] | None = None
    beam: int = 1
    plugins: list[str] | None = None

    @property
    def is_default(self) -> bool:
        """Whether all outputs are computed from the inputs, by netc alone."""
        return not self.outputs and not self.provided and self.beam == 1 and not self.plugins


def write_predictions(
    run: Path, data: Path, out: Path | None = None, selection: Selection = Selection(), threads: int | None = None
) -> None:
    """Predicts for a data file and writes the outputs to the file `out`, or to standard output.

    A prediction by default options is read from the cache, or else saved there (runtime/runs/saved.py).
    """
    from netc.runtime.runs import saved

    if selection.is_default and (columns := _from_cache(run, data, threads)) is not None:
        _write(columns, out)
        return
    import netc

    name = saved.name_of(run) if selection.is_default else None
    opened = netc.open(run, threads)
    if selection.provided:
        from netc.commands import options

        options.known_values(opened.model, selection.provided)
    fields = _fields(opened, data, selection)
    predictions = opened.predict(fields, selection.beam, selection.outputs)
    from netc.runtime import predictions as table

    _write(table.columns_of(opened, predictions), out)
    if selection.is_default:
        saved.save(opened, fields, name)


def _from_cache(run: Path, data: Path, threads: int | None) -> dict[str, list[Any]] | None:
    """Predicts by the record in the cache. Returns None if there is none that fits, and has freed its memory then."""
    from netc.runtime.runs import saved

    prediction = saved.open_saved(run, threads)
    if prediction is None:
        return None
    outputs = prediction.predict(prediction.read(_source_of(data, prediction.fitted.spec)))
    return None if outputs is None else columns_of(prediction.facts, prediction.labels_of, outputs)


def _source_of(data: Path, spec: "DataSpec") -> "SourceSpec":
    """A file of new data as a source of a data block."""
    from netc.dsl.files import real
    from netc.runtime.data.declarations import SourceSpec
    from netc.runtime.runs.checkpoint import place_of

    return SourceSpec(spec.source.reader, str(real(data)), place_of(data), spec.source.options)


def _fields(run: "Run", data: Path, selection: Selection) -> "Fields":
    """Reads the inputs and given values that the outputs need.

    Without `outputs`, a file with given values needs no other fields.
    """
    from netc.runtime.data.new_data import read_inputs, read_values
    from netc.runtime.inference.parts import fields_of, part_of

    model, spec, provided, outputs = run.model, run.spec, selection.provided, selection.outputs
    source = _source_of(data, spec)
    only = provided if outputs is None else None
    try:
        needed = fields_of(model, part_of(model, only or [*model.inputs, *(provided or ())], outputs))
    except ValueError as error:
        import typer

        raise typer.BadParameter(str(error)) from None
    inputs = [name for name in needed if name in model.inputs]
    values = [name for name in needed if name not in model.inputs]
    fields = read_inputs(model, spec, run.states, source, inputs) if inputs else {}
    return fields | read_values(model, values, source)


def _write(columns: Mapping[str, list[Any]], out: Path | None) -> None:
    """Writes columns as csv. On a terminal, control characters are escaped and long cells are cut."""
    from netc.dsl.quoting import cell
    from netc.runtime.runs.checkpoint import write_whole

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    is_shown = out is None and sys.stdout.isatty()
    for row in (columns, *zip(*columns.values(), strict=True)):
        writer.writerow(map(cell, row) if is_shown else row)
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_whole(out, text.getvalue().encode(errors="backslashreplace"))
        say(f"{len(next(iter(columns.values()))):,} rows -> {out}")
