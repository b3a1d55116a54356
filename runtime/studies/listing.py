"""Rows for the tables of runs: a cross-validation with its folds and their mean, and any other folder."""

import math
import os
from pathlib import Path

from netc.dsl.diagnostics import Fault
from netc.runtime.runs.claim import is_claimed
from netc.runtime.runs.listing import Listed, folders_in, listed_run, size_of
from netc.runtime.studies.folds import FoldsInfo, is_folds, read_folds
from netc.runtime.studies.results import Mean, mean_of


def listed(folder: Path) -> Listed:
    """The row of a run, a cross-validation, or a folder that is neither."""
    return _listed_folds(folder) if is_folds(folder) else listed_run(folder)


def listed_in(folder: Path) -> list[Listed]:
    """The rows of all folders in a folder, by name."""
    return [listed(each) for each in folders_in(folder)]


def means_of_parts(row: Listed) -> dict[str, Mean]:
    """The mean of each metric that all folds have, with its standard error."""
    parts = [part.metrics for part in row.parts if part.metrics]
    names = [name for name in (parts[0] if parts else ()) if all(name in part for part in parts)]
    return {name: mean_of([part[name] for part in parts]) for name in names}


def _listed_folds(folder: Path) -> Listed:
    nbytes = size_of(folder)
    try:
        info: FoldsInfo = read_folds(folder)
    except Fault as error:
        message = error.diagnostics[0].primary.text or error.diagnostics[0].title
        return Listed(folder, "folds", state="damaged", message=message, nbytes=nbytes)
    paths = [folder / f"fold-{number}" for number in range(1, info.folds + 1)]
    parts = [listed_run(path) for path in paths if os.path.isdir(path)]
    row = Listed(folder, "folds", info.name, of=info.folds, settings=dict(info.set), nbytes=nbytes, parts=parts)
    for part in parts:
        part.kind = "fold" if part.kind == "run" else part.kind
    row.epochs = sum(part.state == "finished" for part in parts)
    row.seconds = math.fsum(part.seconds for part in parts)
    row.metrics = {name: mean.value for name, mean in means_of_parts(row).items()}
    row.state = "finished" if row.epochs == info.folds else "running" if is_claimed(folder) else "interrupted"
    row.message = "" if row.epochs == info.folds else f"{row.epochs} of {info.folds} folds are finished"
    return row
