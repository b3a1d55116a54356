"""Rows for the table of studies."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from netc.dsl.diagnostics import Fault
from netc.dsl.storage.files import content_of
from netc.runtime.metric_names import single_numbers
from netc.runtime.runs.claim import is_claimed
from netc.runtime.runs.listing import folders_in, size_of
from netc.runtime.studies.search import Outcome
from netc.runtime.studies.store import TABLE, is_study, open_folder


class ListedStudy(Struct):
    """A row of the table of studies.

    `trials`, `pruned` and `failed` are counts. `best`, `settings` and `metrics`, those of the test part as `test.NAME`,
    are of the winner, which a study has at its end. `state` is "finished", "running", "interrupted" or "damaged":
    `message` says why.
    """

    folder: Path
    model: str = ""
    trials: int = 0
    pruned: int = 0
    failed: int = 0
    state: str = ""
    message: str = ""
    best: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    nbytes: int = 0


def studies_in(folder: Path) -> Iterator[ListedStudy]:
    """The rows of all studies in a folder, by name."""
    return (_listed(each) for each in folders_in(folder) if is_study(each))


def _listed(folder: Path) -> ListedStudy:
    row = ListedStudy(folder, nbytes=size_of(folder))
    try:
        study = open_folder(folder)
        counts = _outcomes(folder)
        row.model, row.seconds = study.info.name, study.clock().seconds
        row.trials = counts.total()
        row.pruned, row.failed = counts[Outcome.PRUNED.value], counts[Outcome.FAILED.value]
        results = study.results()
        is_done = results.get("trials") == row.trials and not is_claimed(folder)
        row.state = "finished" if is_done else "running" if is_claimed(folder) else "interrupted"
        if "best" in results and is_done:
            _take_best(row, results)
    except Fault as error:
        row.state, row.message = "damaged", error.diagnostics[0].primary.text or error.diagnostics[0].title
    except (OSError, csv.Error, KeyError, TypeError, AttributeError, ValueError) as error:
        row.state, row.message = "damaged", str(error)
    return row


def _outcomes(folder: Path) -> Counter[str]:
    """The outcomes of the trials of all rounds that are done."""
    path = folder / TABLE
    text = content_of(path).decode() if os.path.exists(path) else ""
    return Counter(line["state"] for line in csv.DictReader(io.StringIO(text, newline="")))


def _take_best(row: ListedStudy, results: dict[str, Any]) -> None:
    best = results["best"]
    row.best, row.settings = best["trial"], best["settings"]
    row.metrics = {name: float(mean["value"]) for name, mean in best["metrics"].items()}
    row.errors = {name: float(mean["error"]) for name, mean in best["metrics"].items() if mean["error"] is not None}
    row.metrics |= {f"test.{name}": value for name, value in single_numbers(results.get("test", {})).items()}
