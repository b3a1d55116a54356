"""`netc predict RUN DATA`: the outputs of a run for new data, in the units of the data."""

import csv
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netc.commands import options
from netc.commands.terminal import say

if TYPE_CHECKING:
    from netc.runtime.execution.fields import Fields
    from netc.runtime.runs.run import Run


def predict(
    run: options.RunFolder,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A file of the same form as the training data.")],
    outputs: options.Outputs = None,
    provided: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            metavar="NAME",
            help="DATA contains this value, as `--output` wrote it, and it is not computed. May be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="A csv file for the outputs (default: standard output; a terminal shows at most 80 characters of a "
            "cell).",
        ),
    ] = None,
    beam: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="The number of hypotheses that beam search keeps in a decoder."),
    ] = 1,
    threads: options.Threads = None,
    plugins: options.Plugins = None,
) -> None:
    """Predict for new data: a row of outputs for each row of data. A sequence is one cell, as JSON.

    Example: netc predict runs/autoencoder digits.csv --output code -o codes.csv, and back again:
    netc predict runs/autoencoder codes.csv --given code
    """
    import netc

    opened = netc.open(run, threads)
    options.known_values(opened.model, provided or ())
    fields = _fields(opened, data, provided, outputs)
    _write(opened.predict(fields, beam, outputs), opened, out)


def _fields(run: "Run", data: Path, provided: list[str] | None, outputs: list[str] | None) -> "Fields":
    """Reads the inputs and given values that the outputs need.

    Without `outputs`, a file with given values needs no other fields.
    """
    from netc.dsl.files import real
    from netc.runtime.data.declarations import SourceSpec
    from netc.runtime.data.new_data import read_inputs, read_values
    from netc.runtime.inference.parts import fields_of, part_of
    from netc.runtime.runs.checkpoint import place_of

    model, spec = run.model, run.spec
    source = SourceSpec(spec.source.reader, str(real(data)), place_of(data), spec.source.options)
    only = provided if outputs is None else None
    try:
        needed = fields_of(model, part_of(model, only or [*model.inputs, *(provided or ())], outputs))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    inputs = [name for name in needed if name in model.inputs]
    values = [name for name in needed if name not in model.inputs]
    fields = read_inputs(model, spec, run.states, source, inputs) if inputs else {}
    return fields | read_values(model, values, source)


def _write(predictions: Mapping[str, Any], run: "Run", out: Path | None) -> None:
    """Writes predictions as csv. On a terminal, control characters are escaped and long cells are cut."""
    from netc.dsl.quoting import cell
    from netc.runtime.predictions import columns_of
    from netc.runtime.runs.checkpoint import write_whole

    columns = columns_of(run, predictions)
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
