"""`netc predict RUN DATA`: the outputs of a run for new data, in the units of the data."""

from pathlib import Path
from typing import Annotated

import typer

from netc.commands import options


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
    from netc.commands.predicting import Selection, write_predictions

    write_predictions(run, data, out, Selection(outputs, provided, beam, plugins), threads)
