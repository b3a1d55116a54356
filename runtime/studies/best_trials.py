"""Runs of the best trials of a study that has ended, for an ensemble of them. The test part is not read."""

from collections.abc import Callable
from pathlib import Path

from netc.dsl.diagnostics import fault
from netc.runtime.runs.checkpoint import path_span
from netc.runtime.runs.claim import claimed
from netc.runtime.runs.outcome import read_outcome, save_outcome
from netc.runtime.runs.run import Run
from netc.runtime.studies.finished import finished_trials
from netc.runtime.studies.rounds import Trial, ranked
from netc.runtime.studies.study import Study, open_study
from netc.runtime.studies.winner import run_of
from netc.runtime.trainer import Report, train_claimed


def runs_of_best(folder: Path, count: int, on_progress: Callable[[Report], None]) -> list[Run]:
    """The runs of the best trials of a study, the best one first: those that it has already, or new ones beside them,
    which are trained here.

    Raises E1001 if the folder is not a study, E1009 if the study has not ended, or has too few trials.
    """
    study = open_study(folder)
    if not study.folder.results():
        hint = f"netc study --resume {folder} goes on with it"
        fault(
            "E1009",
            f"the study `{folder}` has not ended",
            path_span(folder),
            "its best trials are not known",
            hint=hint,
        )
    best = ranked(study.spec, finished_trials(study.folder, study.spec))[:count]
    if len(best) < count:
        fault("E1009", f"the study `{folder}` has too few trials", path_span(folder), f"{len(best)} are complete")
    return [_trained(study, trial, on_progress) for trial in best]


def _trained(study: Study, trial: Trial, on_progress: Callable[[Report], None]) -> Run:
    """The run of a trial, trained to its end."""
    run = run_of(study, trial)
    with claimed(run.folder):
        ending = train_claimed(run, run.model.train.epochs, on_progress, lambda row: None)
        if read_outcome(run.folder) is None:
            save_outcome(run, ending.stopped, None)
    return run
