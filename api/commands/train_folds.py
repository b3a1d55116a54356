"""`netc train M.net --folds`: trains a run for each fold of a split into folds, and shows their metrics together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from msgspec import Struct

from netc.commands import options
from netc.commands.launched import Launched
from netc.commands.next_steps import quoted, show_commands
from netc.commands.progress import Ticker
from netc.commands.quantities import number
from netc.commands.terminal import say, table
from netc.dsl.plural import counted
from netc.dsl.quoting import json_text

if TYPE_CHECKING:
    from netc.dsl.diagnostics import Diagnostic
    from netc.runtime.metric_values import Row
    from netc.runtime.studies.folds import Folds
    from netc.runtime.studies.results import FoldResult


class FoldsRequest(Struct, frozen=True):
    """The options of a cross-validation: a file to train, or the folder of one to resume."""

    file: Path | None
    settings: list[str] | None
    epochs: int | None
    out: Path | None
    resume: Path | None
    strict: bool
    threads: int | None
    trackers: Sequence[str]
    launched: Launched
    is_verbose: bool = False


def is_folds(folder: Path) -> bool:
    """Whether a folder is that of a cross-validation."""
    from netc.runtime.studies import folds

    return folds.is_folds(folder)


def train_folds(request: FoldsRequest) -> None:
    """Trains the folds one after the other, and writes results.json and out_of_fold.csv beside their runs. Ranks train
    each fold together."""
    from netc.commands import prediction_files
    from netc.runtime.runs.checkpoint import write_whole
    from netc.runtime.studies.results import means, out_of_fold

    with Ticker(request.launched.ranks is not None, request.is_verbose) as ticker:
        ticker.doing("reading the data")
        with _claimed_folds(request) as folds:
            shown: set[str] = set()  # the warnings and notes that were shown: most folds have the same
            results = [_train_fold(folds, number, request, shown, ticker) for number in folds.numbers]
            summary = {
                "folds": [{"fold": result.number, "epochs": result.epochs, **result.metrics} for result in results],
                "mean": {name: {"value": mean.value, "error": mean.error} for name, mean in means(results).items()},
            }
            write_whole(folds.folder / "results.json", json_text(summary, indent=2).encode())
            say()
            _show(results)
            prediction_files.write(out_of_fold(results), folds.folder / "out_of_fold.csv")
    if ticker.is_live:
        folder = quoted(folds.folder)
        show_commands(
            [
                (f"netc report {folder}", "a page with all folds"),
                (f"netc ensemble {folder}", "one run of all folds"),
            ]
        )


@contextmanager
def _claimed_folds(request: FoldsRequest) -> "Iterator[Folds]":
    """The cross-validation that is started or resumed, whose folder is locked."""
    from netc.dsl.parser import parse_file
    from netc.runtime.runs.claim import claimed
    from netc.runtime.studies.folds import files_to_resume, open_folds, read_folds, start_folds

    launched = request.launched
    threads = launched.threads(request.threads)
    if request.resume is not None:
        if request.file is not None or request.settings or request.epochs is not None:
            raise typer.BadParameter(
                "folds go on as they began: without a file, --set and --epochs", param_hint="--resume"
            )
        if not launched.agreed(is_folds(request.resume)):
            read_folds(request.resume)  # ends in a message on all ranks
        with launched.claimed(request.resume, files_to_resume(request.resume)) as folder:
            folds = open_folds(folder, threads, launched.ranks)
            folds.reading = launched.reading
            yield folds
        return
    if request.file is None:
        raise typer.BadParameter("give a file to train, or --resume RUN")
    path = launched.output_path(request.out or Path("runs") / request.file.stem)
    constants = options.constants(request.settings)
    folds = start_folds(parse_file(request.file), path, constants, request.epochs, threads, launched.ranks)
    say(f"{request.file}: {folds.info.folds} folds -> {folds.folder}")
    folds.reading = launched.reading
    with claimed(folds.folder):
        yield folds


def _train_fold(folds: "Folds", number: int, request: FoldsRequest, shown: set[str], ticker: Ticker) -> "FoldResult":
    """Trains what is left of a fold, and shows its metrics in a line."""
    from netc.runtime.studies.results import fold_result
    from netc.runtime.trackers.tracker import tracked
    from netc.runtime.trainer import train

    count, resume = folds.info.folds, f"netc train --resume {quoted(folds.folder)}"
    ticker.doing(f"preparing fold {number}/{count}", "the folds before it are saved", resume)
    run = folds.run(number, lambda warnings, notes: _tell(warnings, notes, request.strict, shown))
    request.launched.share(run.load_data())
    progress = f"in fold {number} of {count}"
    trackers = request.trackers if run.ranks is None or run.ranks.rank == 0 else ()  # the other ranks train a copy
    with tracked(run, trackers) as log:

        def epoch(row: "Row") -> None:
            log(row)
            ticker.took(row)

        ticker.trains(run.model, run.metrics)
        ticker.interrupts.at(progress, "every epoch that is done is saved", resume, finishing="saving after this step")
        try:
            ending = train(
                run, run.model.train.epochs, lambda report: ticker.update(report, f"fold {number}/{count}: "), epoch
            )
        except KeyboardInterrupt:
            ticker.interrupts.at(progress, "everything up to this step is saved", resume)
            if not ticker.interrupts.are_answered:
                with suppress(OSError):  # the terminal is gone
                    say(is_error=True)
                    say(f"interrupted; netc train --resume {folds.folder} continues", is_error=True)
            raise
    result = fold_result(number, run)
    facts = [counted(result.epochs, "epoch"), ending.stopped, ending.kept]
    ticker.fold(number, count, result.metrics, [fact for fact in facts if fact is not None])
    return result


def _tell(warnings: "Sequence[Diagnostic]", notes: Sequence[str], is_strict: bool, shown: set[str]) -> None:
    """Shows the warnings and notes of a fold that no earlier one had."""
    options.warn([warning for warning in warnings if warning.title not in shown], is_strict)
    for note in notes:
        if note not in shown:
            say(note)
    shown.update([warning.title for warning in warnings], notes)


def _show(results: "Sequence[FoldResult]") -> None:
    """Prints the metrics of all folds as a table, with their mean and its standard error."""
    from netc.runtime.studies.results import means

    mean = means(results)
    rows = [["fold", *mean]]
    rows += [[str(result.number), *(number(result.metrics[name]) for name in mean)] for result in results]
    rows.append(["mean", *(number(entry.value) for entry in mean.values())])
    rows.append(["standard error", *(number(entry.error) for entry in mean.values())])
    table(rows, right=range(1, len(rows[0])))
