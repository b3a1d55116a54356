"""The folder of a study, studies/NAME/: what it was started with, and every training that was done.

study.json has the text and the options, trials/ a file for each training of a trial, trials.csv the table of the trials
and journal.log what Optuna's tools read. A file is written whole when a training has reached an epoch at which it may
be given up, or its end. So whatever ends a study, what was done stays done.
"""

import csv
import io
import os
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.parser import parse
from netc.dsl.quoting import json_text
from netc.dsl.source import Source
from netc.dsl.storage import temporary
from netc.dsl.storage.files import content_of
from netc.runtime import plugins
from netc.runtime.data.source_record import SourceRecord
from netc.runtime.runs.checkpoint import path_span, write_whole
from netc.runtime.runs.folder import new_folder, with_free_name
from netc.runtime.runs.opening import require_plugins
from netc.runtime.runs.run_files import refuse_folder
from netc.runtime.runs.run_info import Constant, decoded_as, encoded
from netc.runtime.studies.options import with_lines
from netc.runtime.typed_json import parsed

STUDY, TABLE, RESULTS, JOURNAL = "study.json", "trials.csv", "results.json", "journal.log"
_TRIALS, _CLOCK = "trials", "clock.json"
_CHECKSUM = 4  # bytes before what was done of a training: a system that fails may leave half of a file


class StudyInfo(msgspec.Struct, kw_only=True):
    """study.json: the file as a text, with the values that replace its own and the lines that its study has besides.

    `path` is the file that the text was read from, `counted` the numbers of classes that were counted in the data, and
    `sources` are the data as it was then. `hash` is that of all else.
    """

    name: str
    path: str | None
    text: str
    set: dict[str, Constant]
    lines: list[str]
    counted: dict[str, int]
    sources: tuple[SourceRecord, ...]
    plugins: list[str] = []
    hash: str = ""


class Reached(msgspec.Struct, frozen=True):
    """The standing of a training after some epochs: its metrics, whether it was over, and the error that ended it."""

    epoch: int
    metrics: dict[str, float]
    is_over: bool
    error: str | None = None


class Training(msgspec.Struct):
    """The training of a trial on one fold with one seed, as far as it was done. `state` is what it can go on from."""

    settings: dict[str, Constant]
    fold: int | None
    seed: int | None
    reached: list[Reached] = []
    state: bytes | None = None


class Clock(msgspec.Struct):
    """The trials that were done at the end of a round, and the seconds that the study had taken for them."""

    trials: int = 0
    seconds: float = 0.0


class StudyFolder:
    """The folder of a study."""

    def __init__(self, path: Path, info: StudyInfo) -> None:
        self.path, self.info = path, info
        self.source = Source(info.name, info.text, Path(info.path) if info.path else None)

    @property
    def file(self) -> syntax.File:
        """The file, with all lines of its study."""
        file = parse(self.source)
        return with_lines(file, self.info.lines) if self.info.lines else file

    @property
    def journal(self) -> Path:
        """The file that Optuna writes."""
        return self.path / JOURNAL

    def add_lines(self, lines: Sequence[str]) -> None:
        """Adds lines to those that the study has besides its text."""
        self.info.lines += lines
        write_whole(self.path / STUDY, encoded(self.info))

    # ------------------------------------------------------------ trainings

    def _training(self, number: int, run: int) -> Path:
        return self.path / _TRIALS / f"{number:05}-{run + 1}.msgpack"

    def read(self, number: int, run: int, new: Training) -> Training:
        """The stored part of a training of a trial; `new` if there is none, or if it had other settings."""
        stored = _stored(self._training(number, run))
        if stored is None:
            return new
        is_same = (stored.settings, stored.fold, stored.seed) == (new.settings, new.fold, new.seed)
        return stored if is_same else new

    def trainings(self) -> dict[int, list[Training]]:
        """The stored parts of the trainings of each trial, by its number. Damaged files are left out."""
        trainings: dict[int, list[Training]] = {}
        for path in sorted((self.path / _TRIALS).glob("*.msgpack")):
            number, training = path.name.partition("-")[0], _stored(path)
            if number.isdecimal() and training is not None and training.reached:
                trainings.setdefault(int(number), []).append(training)
        return trainings

    def write(self, number: int, run: int, training: Training) -> None:
        """Stores what was done of a training. Raises E1001 if it cannot be written."""
        path = self._training(number, run)
        try:
            path.parent.mkdir(exist_ok=True)
            content = msgspec.msgpack.encode(training)
            temporary.write(path, zlib.crc32(content).to_bytes(_CHECKSUM) + content)
        except OSError as error:
            fault("E1001", f"cannot write `{path}`", path_span(path), str(error.strerror))

    # ------------------------------------------------------------ results

    def clock(self) -> Clock:
        """The time that the study has taken so far."""
        try:
            clock: Clock = parsed(content_of(self.path / _CLOCK), Clock)
        except (OSError, ValueError):
            return Clock()
        return clock

    def set_clock(self, clock: Clock) -> None:
        write_whole(self.path / _CLOCK, json_text(msgspec.to_builtins(clock)).encode())

    def write_table(self, rows: Sequence[Sequence[Any]]) -> None:
        """Writes trials.csv. Floats are written so that they are read back as the same bits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for row in rows:  # Python quotes no carriage return unless lines end with one
            has_return = any("\r" in str(cell) for cell in row)
            (csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL) if has_return else writer).writerow(row)
        write_whole(self.path / TABLE, text.getvalue().encode())

    def results(self) -> dict[str, Any]:
        """results.json; empty if the study has not ended."""
        try:
            results: dict[str, Any] = parsed(content_of(self.path / RESULTS), dict[str, Any])
        except (OSError, ValueError):
            return {}
        return results

    def write_results(self, results: Mapping[str, Any]) -> None:
        write_whole(self.path / RESULTS, json_text(dict(results), indent=2).encode())


def _stored(path: Path) -> Training | None:
    """A training as its file has it; None if there is none, or if it is damaged."""
    try:
        content = content_of(path)
        if zlib.crc32(content[_CHECKSUM:]).to_bytes(_CHECKSUM) != content[:_CHECKSUM]:
            return None
        stored: Training = msgspec.msgpack.decode(content[_CHECKSUM:], type=Training)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
    return stored


def is_study(folder: Path) -> bool:
    """Whether a folder is that of a study."""
    with suppress(ValueError):
        return os.path.isfile(folder / STUDY)
    return False


def new_study(
    file: syntax.File,
    path: Path,
    constants: Mapping[str, Any],
    lines: Sequence[str],
    counted: Mapping[str, int],
    sources: tuple[SourceRecord, ...],
) -> StudyFolder:
    """A new study in a new folder: `path`, or `path` with a number if that exists. Raises what `new_folder` raises."""
    source = file.source
    info = StudyInfo(
        name=source.name,
        path=str(source.path.resolve()) if source.path else None,
        text=source.text,
        set=dict(constants),
        lines=list(lines),
        counted=dict(counted),
        sources=sources,
        plugins=list(plugins.loaded()),
    )
    with new_folder(path) as folder:
        write_whole(folder / STUDY, encoded(info))
        return StudyFolder(with_free_name(folder, path), info)


def open_folder(folder: Path) -> StudyFolder:
    """The study in a folder. Raises E1001 if it is none, or was changed by hand."""
    try:
        info = decoded_as(content_of(folder / STUDY), StudyInfo, STUDY)
    except (OSError, ValueError) as error:
        refuse_folder(folder, "folder of a study", STUDY, error)
    require_plugins(folder, info.plugins)
    return StudyFolder(folder, info)
