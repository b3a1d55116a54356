"""`netc ensemble`: makes one run of several, whose predictions are the means of theirs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from netc.commands import options
from netc.commands.next_steps import quoted
from netc.commands.progress import Ticker
from netc.commands.terminal import say
from netc.commands.train_folds import is_folds

_BEST = 5  # trials of a study


def ensemble(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="The folders of the runs, or that of a cross-validation or a study."),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="RUN", help="The new run's folder.")] = None,
    best: Annotated[
        int,
        typer.Option(min=2, metavar="N", help="Number of best trials of a study. Those without a run are trained."),
    ] = _BEST,
    plugins: options.Plugins = None,
) -> None:
    """Make one run of several, which predicts the mean of what they predict: folds, best trials of a study, or the same
    model with other seeds.

    Example: netc ensemble runs/iris -o runs/iris-ensemble
    """
    from netc.runtime.runs.ensembles import start_ensemble

    path = out or runs[0].with_name(f"{runs[0].resolve().name}-ensemble")
    members = [*_folders(runs, best)]
    run = start_ensemble(members, path)
    count = run.model.parameter_count
    assert run.info is not None
    say(f"{len(run.info.members)} members, {count:,} parameters -> {run.folder}")
    times = Counter(folder.resolve() for folder in members)
    for folder in {folder.resolve(): folder for folder in members if times[folder.resolve()] > 1}.values():
        say(f"note: {quoted(folder)} is a member {times[folder.resolve()]} times, and counts as often in the mean")
    if run.spec.split.way == "folds" and not run.spec.split.fold:
        rest = "the test part is new to all" if run.spec.split.test else "no rows are new to all"
        say(f"note: the validation rows of each member are training rows of others; {rest}")


def _folders(runs: Sequence[Path], best: int) -> Iterator[Path]:
    """The folders of the members: those of all folds in place of a cross-validation, of the best trials in place of a
    study.
    """
    from netc.runtime.studies.folds import open_folds
    from netc.runtime.studies.store import is_study

    for folder in runs:
        if is_folds(folder):
            yield from (folder / f"fold-{number}" for number in open_folds(folder).numbers)
        elif is_study(folder):
            from netc.runtime.studies.best_trials import runs_of_best

            with Ticker() as ticker:
                kept = "epochs that are done are saved"
                ticker.doing("training the best trials", kept, f"netc ensemble {quoted(folder)}")
                runs_of_study = runs_of_best(folder, best, ticker.update)
            yield from (run.folder for run in runs_of_study)
        else:
            yield folder
