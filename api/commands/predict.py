"""`netc predict RUN DATA`: the outputs of a run for new data, in the data's units."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from netc.commands import options


def predict(
    run: options.RunFolder,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A file like the one that the run was trained on.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="A csv file for the outputs (default: the terminal)."),
    ] = None,
    beam: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Of what a decoder may say, follow the N likeliest beginnings at once."),
    ] = 1,
    threads: options.Threads = None,
) -> None:
    """Predict for new data, a row of outputs for each row of it; a sequence is a cell, as JSON.

    Example: netc predict runs/cars new_cars.csv -o estimates.csv
    """
    import netc
    from netc.runtime.answers import labels_of, probabilities, words_of
    from netc.runtime.checkpoint import place_of, write_whole
    from netc.runtime.data.dataset import read_inputs
    from netc.runtime.data.spec import SourceSpec

    opened = netc.open(run, threads)
    source = SourceSpec(opened.spec.source.reader, str(data.resolve()), place_of(data), opened.spec.source.options)
    fields = read_inputs(opened.model, opened.spec, opened.states, source)
    predicted = opened.predict(fields, beam)
    columns: dict[str, list[Any]] = {}
    parts: dict[str, tuple[str, ...]] = {}
    for target, type_ in opened.model.targets.items():  # the label itself, and what its chances are of
        likely = probabilities(opened.model, predicted, type_.classes) if type_.classes is not None else None
        if likely is not None and likely not in parts:
            assert type_.classes is not None
            parts[likely], found = labels_of(opened, target, type_.classes), predicted[likely]
            if isinstance(found, list):
                named = [[parts[likely][i] for i in one.argmax(axis=1)] for one in found]
                columns[target] = [json.dumps(one, ensure_ascii=False) for one in named]
            else:
                columns[target] = [parts[likely][i] for i in found.argmax(axis=1)]
    for name, value in predicted.items():
        words = words_of(opened, name)
        if isinstance(value, list):  # a sequence is a cell
            told = [[words[i] for i in one] if words and one.ndim == 1 else one.tolist() for one in value]
            columns[name] = [json.dumps(one, ensure_ascii=False) for one in told]
            continue
        if words and value.ndim == 1:
            columns[name] = [words[i] for i in value]
            continue
        flat = value.reshape(len(value), -1)
        for i in range(flat.shape[1]):
            of = parts[name][i] if name in parts else i
            columns[name if flat.shape[1] == 1 else f"{name}[{of}]"] = flat[:, i].tolist()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    if output is None:
        sys.stdout.write(text.getvalue())
    else:
        write_whole(output, text.getvalue().encode())
        typer.echo(f"{len(next(iter(columns.values()))):,} rows -> {output}")
