"""`netc predict RUN DATA`: the outputs of a run for new data, in the data's units."""

import csv
import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from netc.commands import options
from netc.commands.terminal import say


def predict(
    run: options.RunFolder,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A file like the one that the run was trained on.")],
    outputs: options.Outputs = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            metavar="NAME",
            help="DATA holds this value, as `--output` wrote it, in place of what computes it; may be given again.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="A csv file for the outputs (default: the standard output; a terminal shows no more than 80 characters of a cell).",
        ),
    ] = None,
    beam: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Of what a decoder may say, follow the N likeliest beginnings at once."),
    ] = 1,
    threads: options.Threads = None,
    plugins: options.Plugins = None,
) -> None:
    """Predict for new data, a row of outputs for each row of it; a sequence is a cell, as JSON.

    Example: netc predict runs/autoencoder digits.csv --output code -o codes.csv, and back again: netc predict runs/autoencoder codes.csv --given code
    """
    import netc
    from netc.dsl.files import real
    from netc.dsl.quoting import cell
    from netc.runtime.data.declarations import SourceSpec
    from netc.runtime.data.new_data import read_inputs, read_values
    from netc.runtime.inference.parts import fields_of, part_of
    from netc.runtime.predictions import columns_of
    from netc.runtime.runs.checkpoint import place_of, write_whole

    opened = netc.open(run, threads)
    model, spec = opened.model, opened.spec
    source = SourceSpec(spec.source.reader, str(real(data)), place_of(data), spec.source.options)
    options.known_values(model, given or ())
    alone = given if outputs is None else None  # then what the file must hold is what was given, and no more
    try:
        needed = fields_of(model, part_of(model, alone or [*model.inputs, *(given or ())], outputs))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    inputs, values = (
        [name for name in needed if name in model.inputs],
        [one for one in needed if one not in model.inputs],
    )
    fields = read_inputs(model, spec, opened.states, source, inputs) if inputs else {}
    fields |= read_values(model, values, source)
    columns = columns_of(opened, opened.predict(fields, beam, outputs))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    is_shown = (
        out is None and sys.stdout.isatty()
    )  # then for eyes: labels do not move the cursor, and long cells are cut
    for row in (columns, *zip(*columns.values(), strict=True)):
        writer.writerow(map(cell, row) if is_shown else row)
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_whole(out, text.getvalue().encode(errors="backslashreplace"))
        say(f"{len(next(iter(columns.values()))):,} rows -> {out}")
