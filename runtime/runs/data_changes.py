"""Compares the data of a run with what it was trained on: by other rules of division, or changed files.

Gives faults and warnings with the span of the source in the model's text. Knows no terminal.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from netc.dsl.diagnostics import Diagnostic, Fault, Label, fault
from netc.dsl.structs import replace
from netc.runtime.data.block.declarations import DIVISION, DataSpec, SourceSpec
from netc.runtime.data.dataset import Dataset
from netc.runtime.data.source_record import SourceRecord, recorded
from netc.runtime.data.windows import is_series
from netc.runtime.runs.run_files import read_info
from netc.runtime.runs.run_info import RunInfo

_KEEPING = 'its parts have other rows than then; `split = hash("id", ...)` keeps rows where they are'


def require_division(folder: Path, spec: DataSpec, info: RunInfo | None) -> None:
    """Raises E0842 if an earlier netc put rows of the run's data into other parts than this one would.

    Rows that the run was trained on would then be in its test part.
    """
    is_divided = spec.split.is_division or is_series(spec.fields.values())
    if is_divided and info is not None and info.division != DIVISION:
        title = f"`{folder}` was trained by another version of netc, which divided the data in another way"
        hint = "it can predict; train it again to evaluate or to resume it"
        fault("E0842", title, spec.split.span, f"netc {info.versions.get('netc', '')}", hint=hint)


def records_of(dataset: Dataset, folder: Path, before: Iterable[SourceRecord] = ()) -> tuple[SourceRecord, ...]:
    """The records of the sources that a dataset was read from; relative paths start from `folder`."""
    earlier, sources = {record.path: record for record in before}, _sources(dataset.spec)
    return tuple(
        recorded(sources[path], folder, rows, earlier.get(path)) for path, rows in dataset.rows_by_source.items()
    )


def changes_of(
    dataset: Dataset, folder: Path, before: tuple[SourceRecord, ...], since: str = "the run was trained"
) -> tuple[Diagnostic, ...]:
    """The warnings W0841 for each source of a dataset that has changed since the records `before` were made, when what
    `since` says happened."""
    if not before:
        return ()
    split = dataset.spec.split
    moves_rows = split.is_division and split.way not in ("hash", "ordered")
    sources = _sources(dataset.spec)
    current = {record.path: record for record in records_of(dataset, folder, before)}
    warnings = [
        Diagnostic("W0841", change, Label(sources[path].span), hint=_KEEPING if moves_rows else None)
        for path, change in _changes(before, current, since)
    ]
    return tuple(warning for warning in warnings if not warning.is_silenced)


@contextmanager
def explaining(spec: DataSpec, folder: Path, before: tuple[SourceRecord, ...]) -> Iterator[None]:
    """Adds to a fault of the data which files have changed since the records `before` were made."""
    try:
        yield
    except Fault as error:
        sources = _sources(spec)
        files = [record for record in before if record.path in sources]
        now = {record.path: recorded(sources[record.path], folder, record.rows, record) for record in files}
        changes = _changes(files, now, "the run was trained")
        warnings = [Diagnostic("W0841", change, Label(sources[path].span)) for path, change in changes]
        raise Fault([*error.diagnostics, *warnings]) from None


def changes_since_run(other: Path, shown: str, folder: Path, now: Iterable[SourceRecord]) -> tuple[str, ...]:
    """The changes in sources of a new run since another run, called `shown`, was trained on the same files."""
    try:
        info, _, _ = read_info(other)
    except Fault:  # its parameters can be used all the same
        return ()
    base = Path(info.path).parent if info.path else Path()
    current = {os.path.realpath(folder / record.path): record for record in now}
    by_path = {record.path: current.get(os.path.realpath(base / record.path)) for record in info.sources}
    same = {path: record for path, record in by_path.items() if record is not None}
    return tuple(change for _, change in _changes(info.sources, same, f"`{shown}` was trained"))


def refusals(warnings: Iterable[Diagnostic], folder: Path) -> list[Diagnostic]:
    """The same changes as the errors E0843, for a run that is to be resumed."""
    hint = f"netc train --resume {folder} --changed-data goes on with the data as it is now"
    return [replace(warning, code="E0843", hint=hint) for warning in warnings]


def _sources(spec: DataSpec) -> dict[str, SourceSpec]:
    return {source.name: source for source in (*(source for _, source in spec.split.sources), spec.source)}


def _changes(before: Iterable[SourceRecord], now: Mapping[str, SourceRecord], since: str) -> Iterator[tuple[str, str]]:
    """Yields the path of each source that has changed, and what has changed."""
    for record in before:
        if record.path in now and (change := record.change(now[record.path], since)) is not None:
            yield record.path, change
