"""A study as a whole: started, or opened to go on; checked, and ready to be run on one machine or over MPI."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, fault
from netc.dsl.source import Span
from netc.dsl.structs import replace
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import Dataset, load
from netc.runtime.loading import load_model
from netc.runtime.runs.data_changes import changes_of, records_of
from netc.runtime.runs.folder import require_creatable
from netc.runtime.runs.run_info import Constant
from netc.runtime.studies.check import check_study
from netc.runtime.studies.declarations import Chosen, StudySpec
from netc.runtime.studies.options import with_lines
from netc.runtime.studies.rounds import Rounds, Standing, TrainAll
from netc.runtime.studies.search import Search, require_optuna
from netc.runtime.studies.segments import Segments
from netc.runtime.studies.space import grid_size
from netc.runtime.studies.store import StudyFolder, new_study, open_folder


class Study(Struct, frozen=True):
    """A study in its folder, and the model of its file."""

    folder: StudyFolder
    spec: StudySpec
    model: Model

    @property
    def constants(self) -> dict[str, Constant]:
        """The values that replace those of the file in all trials."""
        kept = self.spec.compare[0]
        keep = {"keep": f"best({'max' if kept.is_higher else 'min'}({kept.metric}))"} if self.spec.keeps_best else {}
        return {**self.folder.info.set, **keep}

    def rounds(self, train_all: TrainAll, on_change: Callable[[Standing], object]) -> Rounds:
        """The rounds of the study, before the first one."""
        search = Search(self.spec, self.model.train.epochs, self.folder.journal, self.folder.path.name)
        return Rounds(self.spec, self.model, self.folder, search, train_all, on_change)

    def on_this_machine(self, workers: int | None) -> TrainAll:
        """Trains segments on this machine, `workers` at a time, by default one for each core."""
        segments = Segments(self.folder.file, self.constants)
        return lambda jobs, on_done: segments.train_all(jobs, workers, on_done)


def start_study(
    file: syntax.File,
    path: Path,
    constants: Mapping[str, Any],
    lines: Sequence[str],
    tell: Callable[[Model, Dataset], object],
) -> Study:
    """A new study in a new folder: `path`, or `path` with a number if that exists.

    `lines` are those of its `study` block besides the file's own, and `tell` is called with the checked model and
    its data, without the test part, before the folder is made. Raises E0501 without a study, E1011 without Optuna,
    and like `check_study` and `new_folder`.
    """
    require_creatable(path)
    full = with_lines(file, lines) if lines else file
    model = load_model(full, dict(constants))
    spec = _spec(full, model, constants)
    if _is_small(model, spec):
        lines = [*lines, "search = grid"]  # for whoever opens the study again
        spec = replace(spec, search=Chosen("grid", {}, spec.search.span), trials=None)
    dataset = _data_of(model)
    tell(model, dataset)
    sources = records_of(dataset, model.source.folder)
    return Study(new_study(file, path, constants, lines, model.counted, sources), spec, model)


def open_study(path: Path, lines: Sequence[str] = ()) -> Study:
    """The study in a folder, with further lines of its `study` block.

    Raises E1001 if it is none, and E0843 if its data has changed: its trials could not be compared.
    """
    folder = open_folder(path)
    file = with_lines(folder.file, lines)
    model = load_model(file, dict(folder.info.set))
    spec = _spec(file, model, folder.info.set)
    changes = changes_of(_data_of(model), model.source.folder, folder.info.sources, "the study was started")
    if changes:
        hint = "a new study: its trials have the data as it is now"
        raise Fault([replace(change, code="E0843", hint=hint) for change in changes])
    if lines:
        folder.add_lines(lines)
    return Study(folder, spec, model)


def _is_small(model: Model, spec: StudySpec) -> bool:
    """Whether a study that names no search can try every combination of its values, because `trials` are enough.

    Such a study becomes a grid when it is started, and stays one: that it goes on for longer changes no trial.
    """
    assert model.study is not None
    is_chosen = any(setting.name.text == "search" for setting in model.study.settings)
    if is_chosen or spec.trials is None or any(varying.domain.finite is None for varying in spec.space):
        return False
    return grid_size(spec.space, spec.trials + 1) <= spec.trials


def _data_of(model: Model) -> Dataset:
    """The data of the trials."""
    return load(model, parse_data(model), without=("test",))


def _spec(file: syntax.File, model: Model, constants: Mapping[str, Any]) -> StudySpec:
    if model.study is None:
        hint = "study { lr = log(1e-4, 1e-1) }, or `--vary`"
        fault("E0501", "the file has no `study` block", Span(file.source, 0, 0), hint=hint)
    if model.data is None:
        fault(
            "E0501", "the file has no `data` block", Span(file.source, 0, 0), hint="a study reads the data of its file"
        )
    require_optuna(model.study.span)
    fixed = [varying for varying in model.study.settings if varying.name.text in constants]
    if fixed:
        name = fixed[0].name
        fault("E0602", f"`{name.text}` varies, and `--set` gives it a value", name.span)
    return check_study(model, constants, file)
