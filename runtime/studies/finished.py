"""The trials of a study as its folder has them, for those who look at a study without going on with it."""

import csv
import io

from netc.compiler.elaborate.elaborator import elaborate
from netc.dsl.diagnostics import fault
from netc.dsl.source import Span
from netc.dsl.storage.files import content_of
from netc.dsl.structs import replace
from netc.runtime.plugins import load_installed
from netc.runtime.runs.checkpoint import path_span
from netc.runtime.studies.declarations import StudySpec
from netc.runtime.studies.results import Mean
from netc.runtime.studies.rounds import Trial
from netc.runtime.studies.search import Outcome
from netc.runtime.studies.spec import parse_study
from netc.runtime.studies.store import TABLE, StudyFolder


def spec_of(folder: StudyFolder) -> StudySpec:
    """The `study` block of a study. Reads no data: classes are as many as they were when the study began."""
    load_installed()
    counted = folder.info.counted
    file = folder.file
    model = elaborate(file, dict(folder.info.set), lambda name, lets, span: counted.get(name, 2))
    if model.study is None:
        fault("E0501", "the file has no `study` block", Span(file.source, 0, 0))
    return parse_study(model)


def finished_trials(folder: StudyFolder, spec: StudySpec) -> list[Trial]:
    """The trials of all rounds that are done, in the order of their numbers.

    A trial whose files are gone, or were changed, is left out. Raises E1001 if the table of trials was changed.
    """
    try:
        text = content_of(folder.path / TABLE).decode()
    except (OSError, ValueError):  # no round is done yet
        return []
    trials, count, all_trainings = list[Trial](), (spec.folds or 1) * spec.seeds, folder.trainings()
    for number, outcome in _outcomes(folder, text):
        trainings = all_trainings.get(number, [])
        if len(trainings) == count:
            trainings.sort(key=lambda training: (training.fold or 0, training.seed or 0))
            done = max(len(training.reached) for training in trainings)
            trials.append(Trial(number, trainings[0].settings, trainings, done, outcome))
    return trials


def _outcomes(folder: StudyFolder, text: str) -> list[tuple[int, Outcome]]:
    """The numbers of the trials in trials.csv, and how they ended."""
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""))
        return [(int(row["trial"]), Outcome(row["state"])) for row in rows]
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        path = folder.path / TABLE
        fault("E1001", f"`{path}` is not a table of trials", path_span(path), str(error))


def path_of(trial: Trial, spec: StudySpec) -> list[tuple[int, Mean]]:
    """The first compared metric of a trial at each number of epochs at which it was looked at, as far as it is a
    number."""
    stages = [replace(trial, done=done) for done in range(1, trial.done + 1)]
    return [(stage.epochs, stage.means(spec)[0]) for stage in stages if stage.error(spec) is None]
