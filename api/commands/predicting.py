"""The work of `netc predict`: reads new data for a run, and writes the predictions beside the columns to keep."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from netc.commands import prediction_files
from netc.commands.terminal import say
from netc.runtime.columns import blanked, columns_of

if TYPE_CHECKING:
    from netc.runtime.data.block.declarations import DataSpec, SourceSpec
    from netc.runtime.data.new_data import Fitted, NewData
    from netc.runtime.data.tables.table import Table
    from netc.runtime.runs.run import Run

_LISTED = 10  # rows that are named, of those that cannot be used


class Selection(Struct, frozen=True):
    """The options of `netc predict`: what is computed (by default all outputs, from the inputs), and what is written
    beside it.
    """

    outputs: list[str] | None = None
    provided: list[str] | None = None
    beam: int = 1
    plugins: list[str] | None = None
    keep: tuple[str, ...] = ()
    is_joined: bool = False
    reader: str | None = None
    is_strict: bool = False

    @property
    def is_default(self) -> bool:
        """Whether all outputs are computed from the inputs, by netc alone."""
        return not self.outputs and not self.provided and self.beam == 1 and not self.plugins


_BY_DEFAULT = Selection()


class _Prediction(Struct, frozen=True):
    """New data, and the columns of the outputs for the samples that could be used."""

    data: "NewData"
    columns: dict[str, list[Any]]


def write_predictions(
    run: Path, data: Path, out: Path | None = None, selection: Selection = _BY_DEFAULT, threads: int | None = None
) -> None:
    """Predicts for a data file and writes the outputs to the file `out`, or to standard output.

    A prediction by default options is read from the cache, or else saved there (runtime/runs/saved.py).
    """
    prediction_files.refuse_suffix(out)
    with _content(data) as path:
        prediction = _from_cache(run, path, data, selection, threads) if selection.is_default else None
        if prediction is None:
            prediction = _by_compiler(run, path, data, selection, threads)
    new = prediction.data
    predictions = blanked(prediction.columns, new.used, new.count)
    prediction_files.write(_with_kept(predictions, new, selection), out)
    say_problems(new)


@contextmanager
def _content(data: Path) -> Iterator[Path]:
    """The file of new data; for `-` a temporary file with what standard input contains."""
    if str(data) != "-":
        yield data
        return
    import shutil
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="netc-") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield Path(file.name)


def _from_cache(run: Path, path: Path, data: Path, selection: Selection, threads: int | None) -> _Prediction | None:
    """Predicts by the record in the cache. Returns None if there is none that fits, and has freed its memory then."""
    from netc.runtime.data.new_data import read_fields
    from netc.runtime.runs import saved

    prediction = saved.open_saved(run, threads)
    if prediction is None:
        return None
    table = _table(prediction.fitted, path, data, [*prediction.inputs], selection)
    new = read_fields(prediction.fitted, table, prediction.inputs, is_strict=selection.is_strict)
    outputs = prediction.predict(new.fields)
    return None if outputs is None else _Prediction(new, columns_of(prediction.facts, prediction.labels_of, outputs))


def _by_compiler(run: Path, path: Path, data: Path, selection: Selection, threads: int | None) -> _Prediction:
    """Predicts by the run's model, and saves the prediction if it is by default options."""
    import netc
    from netc.runtime.runs import saved

    name = saved.name_of(run) if selection.is_default else None
    opened = netc.open(run, threads)
    if selection.provided:
        from netc.commands import options

        options.known_values(opened.model, selection.provided)
    new = _read(opened, path, data, selection)
    outputs = opened.predict_prepared(new.fields, selection.beam, selection.outputs)
    if selection.is_default:
        saved.save(opened, new.fields, name)
    return _Prediction(new, columns_of(opened.facts_of([*outputs]), opened.labels_of, outputs))


def _table(fitted: "Fitted", path: Path, data: Path, names: Sequence[str], selection: Selection) -> "Table":
    """The table of the new data with what these fields and values need. Raises E0802 if it lacks a column to keep."""
    from netc.runtime.data.new_data import read_table
    from netc.runtime.runs.checkpoint import path_span

    is_stdin = path is not data
    shown = "standard input" if is_stdin else str(data)
    source = _source_of(path, fitted.spec, selection, is_stdin)
    table = read_table(
        fitted, source, shown, names, lambda column: selection.is_joined or column in (*selection.keep, "path")
    )
    for name in selection.keep:
        table.require(name, path_span(Path(shown)))
    return table


def _source_of(path: Path, spec: "DataSpec", selection: Selection, is_stdin: bool) -> "SourceSpec":
    """A file of new data as a source of a data block."""
    from netc.dsl.storage.files import real
    from netc.runtime.data.new_data import source_of
    from netc.runtime.data.readers.readers import READERS, reader_of
    from netc.runtime.runs.checkpoint import path_span

    trained_with = spec.source.reader
    reader = selection.reader or (trained_with if is_stdin else reader_of(path, trained_with))
    if reader not in READERS or (is_stdin and READERS[reader].takes_folder):
        import typer

        names = ", ".join(name for name in READERS if not READERS[name].takes_folder)
        raise typer.BadParameter(f"`{reader}` is not read from here: one of {names}", param_hint="--format")
    return source_of(spec, real(path), reader, path_span(Path("standard input") if is_stdin else path))


def new_data(run: "Run", data: Path, selection: Selection) -> "NewData":
    """Reads a file of new data, or standard input for `-`, as `netc predict` does."""
    with _content(data) as path:
        return _read(run, path, data, selection)


def _read(run: "Run", path: Path, data: Path, selection: Selection) -> "NewData":
    """Reads the inputs and given values that the outputs need."""
    try:
        needed = run.needed(selection.provided or (), selection.outputs)
    except ValueError as error:
        import typer

        raise typer.BadParameter(str(error)) from None
    return run.read(_table(run.fitted, path, data, needed, selection), needed, selection.is_strict)


def _with_kept(predictions: dict[str, list[Any]], new: "NewData", selection: Selection) -> dict[str, list[Any]]:
    """The columns of the data to keep, then the predictions, with `_predicted` added to a name that is taken."""
    names = [*new.table.columns] if selection.is_joined else [*dict.fromkeys(selection.keep)]
    if not selection.is_joined and "path" in new.table.columns and "image" in new.table.columns:
        names = ["path", *(name for name in names if name != "path")]  # which picture a prediction is for
    kept: dict[str, list[Any]] = {}
    for name in names:
        cells = new.table.columns[name][new.rows]
        if cells.ndim == 1:
            kept[name] = [_kept(cell) for cell in cells.tolist()]
    result = dict(kept)
    for name, prediction in predictions.items():
        while name in result:
            name += "_predicted"
        result[name] = prediction
    return result


def _kept(cell: Any) -> Any:
    """A cell that is written again: a whole number has no `.0`, and a missing one is blank."""
    if isinstance(cell, float):
        return int(cell) if cell.is_integer() else None if cell != cell else cell
    return cell


def say_problems(new: "NewData") -> None:
    """Says on the error stream which rows have no prediction and why, and which cells are unlike those of training."""
    for remark in (*new.table.notes, *new.remarks.notes()):
        say(f"note: {remark}", is_error=True)
    if not new.problems:
        return
    for problem in new.problems[:_LISTED]:
        column = f", column `{problem.column}`" if problem.column else ""
        say(f"row {problem.row}{column}: {problem.reason}", is_error=True)
    if len(new.problems) > _LISTED:
        say(f"... and {len(new.problems) - _LISTED:,} more rows", is_error=True)
    count, answered = new.count, len(new.used)
    say(f"note: {answered:,} of {count:,} predicted, {count - answered:,} left blank", is_error=True)
