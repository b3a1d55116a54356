"""`netc predict RUN DATA`: the outputs of a run for new data, in the units of the data."""

from pathlib import Path
from typing import Annotated

import typer

from netc.commands import options

# The options, in the order of the help page.
_Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="A file with the columns that the inputs read, in any order; `-` reads standard input. For pictures, "
        "a folder or one picture.",
    ),
]
_Provided = Annotated[
    list[str] | None,
    typer.Option(
        "--given",
        metavar="NAME",
        help="DATA contains this value, as `--output` wrote it, and it is not computed. May be repeated.",
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        metavar="FILE",
        help="A file for the predictions: .csv, .json, .jsonl or .parquet (default: csv on standard output; a terminal "
        "shows at most 80 characters of a cell).",
    ),
]
_Beam = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="The number of hypotheses that beam search keeps in a decoder."),
]
_Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="COLUMN", help="Write this column of DATA before the predictions. May be repeated."),
]
_Join = Annotated[
    bool,
    typer.Option(
        "--join",
        help="Write all columns of DATA before the predictions. A prediction with a taken name becomes NAME_predicted.",
    ),
]
_Reader = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="The format of DATA: csv, parquet, jsonl, ... (default: by its suffix; for standard input that of the "
        "training data).",
    ),
]
_Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse DATA if one of its rows cannot be used (exit status 1).")
]


def predict(
    run: options.RunFolder,
    data: _Data,
    outputs: options.Outputs = None,
    provided: _Provided = None,
    out: _Out = None,
    beam: _Beam = 1,
    keep: _Keep = None,
    join: _Join = False,
    reader: _Reader = None,
    strict: _Strict = False,
    threads: options.Threads = None,
    plugins: options.Plugins = None,
) -> None:
    """Predict for new data: a row of predictions for each row of data. A sequence is one cell, as JSON.

    Columns are bound by the names that training saw. A row that cannot be used is named on standard error, and its
    predictions are blank.

    Example: netc predict runs/autoencoder digits.csv --output code -o codes.csv, and back again:
    netc predict runs/autoencoder codes.csv --given code
    """
    from netc.commands.predicting import Selection, write_predictions

    selection = Selection(outputs, provided, beam, plugins, tuple(keep or ()), join, reader, strict)
    write_predictions(run, data, out, selection, threads)
