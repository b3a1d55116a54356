"""Cross-validation: a run for each fold of a split into folds, in one folder.

runs/NAME/ holds folds.json (what all folds have in common), fold-1/, fold-2/, ... (a run each), and at the end
results.json and out_of_fold.csv. A fold is an ordinary run, so an interruption loses nothing: what is trained stays,
and the fold that was running goes on from its checkpoint.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import msgspec

from netc.compiler.model import Model
from netc.compiler.targets.target import Ranks
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.dsl.storage.files import content_of
from netc.dsl.structs import replace
from netc.runtime import plugins
from netc.runtime.data.block.declarations import SourceSpec
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.block.split import with_fold
from netc.runtime.data.readers.request import Uses
from netc.runtime.data.readers.sources import read_source
from netc.runtime.data.tables.table import Table
from netc.runtime.distributed.folders import RUN_FILES
from netc.runtime.loading import load_model
from netc.runtime.runs.checkpoint import write_whole
from netc.runtime.runs.folder import new_folder, with_free_name
from netc.runtime.runs.opening import open_run, require_plugins
from netc.runtime.runs.run import Run
from netc.runtime.runs.run_files import refuse_folder
from netc.runtime.runs.run_info import Constant, decoded_as, encoded
from netc.runtime.runs.starting import data_of_new_run, start_run
from netc.runtime.training.checks import check_training

FOLDS = "folds.json"
Tell = Callable[[Sequence[Diagnostic], Sequence[str]], object]


class FoldsInfo(msgspec.Struct, kw_only=True):
    """folds.json: the model of all folds, as a text with the constants and the epochs that replace its own.

    `path` is the file that the text was read from, `folds` how many there are. `hash` is that of all else.
    """

    name: str
    path: str | None
    text: str
    set: dict[str, Constant]
    epochs: int | None
    folds: int
    plugins: list[str] = []
    hash: str = ""


class Folds:
    """The folder of a cross-validation. The runs of its folds are started or opened one after the other. `ranks` are as
    in Program; data is read inside of `reading()`."""

    def __init__(self, folder: Path, info: FoldsInfo, threads: int | None = None, ranks: Ranks | None = None) -> None:
        self.folder, self.info, self.threads, self.ranks = folder, info, threads, ranks
        self.reading: Callable[[], AbstractContextManager[object]] = nullcontext
        source = Source(info.name, info.text, Path(info.path) if info.path else None)
        self._file = parse(source)
        self._tables: dict[tuple[SourceSpec, Path], Table] = {}

    @property
    def numbers(self) -> range:
        """The numbers of the folds."""
        return range(1, self.info.folds + 1)

    def model(self, number: int) -> Model:
        """The model that is trained with a fold as its validation part."""
        model = load_model(with_fold(self._file, number), dict(self.info.set))
        return (
            model if self.info.epochs is None else replace(model, train=replace(model.train, epochs=self.info.epochs))
        )

    def run(self, number: int, tell: Tell) -> Run:
        """The run of a fold: opened where its training stands, or started if there is none yet.

        `tell` is called with the warnings and notes about the model and its data, before a folder is made.
        """
        folder = self.folder / f"fold-{number}"
        if os.path.isdir(folder):
            run = open_run(folder, self.threads, to_train=True, ranks=self.ranks)
            with self.reading():
                run.load_data()
            tell([*run.data_changes], [])
            return run
        model = self.model(number)
        with self.reading():
            dataset = data_of_new_run(model, folder, read=self._read)
        remarks = (f"note: {part}, {remark}" for part, remarks in dataset.remarks.items() for remark in remarks)
        warnings = [*model.warnings, *dataset.warnings, *check_training(model, dataset)]
        tell(warnings, [*dataset.notes, *remarks])
        return start_run(model, folder, self.info.set, dataset, self.threads, self.ranks)

    def _read(self, source: SourceSpec, folder: Path, uses: Uses) -> Table:
        """A source of the data, read once: every fold needs the same columns of it."""
        key = (source, folder)
        if key not in self._tables:
            self._tables[key] = read_source(source, folder, uses)
        return self._tables[key]


def start_folds(
    file: syntax.File,
    path: Path,
    constants: Mapping[str, Any],
    epochs: int | None,
    threads: int | None = None,
    ranks: Ranks | None = None,
) -> Folds:
    """A new cross-validation in a new folder: `path`, or `path` with a number if that exists.

    `constants` and `epochs` replace those of the file. Raises E0602 if the file has no split into folds, and like
    `load_model` and `new_folder`.
    """
    model = load_model(with_fold(file, 1), dict(constants))
    split = parse_data(model).split
    source = file.source
    info = FoldsInfo(
        name=source.name,
        path=str(source.path.resolve()) if source.path else None,
        text=source.text,
        set=dict(constants),
        epochs=epochs,
        folds=split.folds,
        plugins=list(plugins.loaded()),
    )
    with new_folder(path) as folder:
        write_whole(folder / FOLDS, encoded(info))
        return Folds(with_free_name(folder, path), info, threads, ranks)


def is_folds(folder: Path) -> bool:
    """Whether a folder is that of a cross-validation."""
    with suppress(ValueError):
        return os.path.isfile(folder / FOLDS)
    return False


def read_folds(folder: Path) -> FoldsInfo:
    """The facts about all folds of a cross-validation. Raises E1001 if the folder is none, or was changed by hand."""
    try:
        return decoded_as(content_of(folder / FOLDS), FoldsInfo, FOLDS)
    except (OSError, ValueError) as error:
        refuse_folder(folder, "folder of folds", FOLDS, error)


def open_folds(folder: Path, threads: int | None = None, ranks: Ranks | None = None) -> Folds:
    """The cross-validation in a folder. Raises what `read_folds` raises, and E1001 if a plug-in is missing."""
    info = read_folds(folder)
    require_plugins(folder, info.plugins)
    return Folds(folder, info, threads, ranks)


def files_to_resume(folder: Path) -> list[str]:
    """The paths, in the folder of a cross-validation, of the files that are read to go on with it."""
    return [FOLDS, *(f"{fold.name}/{name}" for fold in sorted(folder.glob("fold-*")) for name in RUN_FILES)]
