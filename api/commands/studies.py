"""`netc studies`: compares the studies of a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netc.commands.quantities import duration, number, size
from netc.commands.terminal import say, say_lines, table
from netc.dsl.quoting import cell, json_text

if TYPE_CHECKING:
    from netc.runtime.studies.listed_study import ListedStudy


def studies(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the studies.")] = Path("studies"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the winners' settings.")] = False,
) -> None:
    """List the studies of a folder: how their trials ended, and the metrics of the winners.

    Example: netc studies
    """
    from netc.runtime.studies.listed_study import studies_in

    rows = [*studies_in(folder)]
    if as_json:
        say_lines(json_text([_facts(row) for row in rows], indent=2))
        return
    if not rows:
        say(f"no studies in {folder}")
        return
    names = [*dict.fromkeys(name for row in rows for name in row.metrics)]
    cells = [("study", "model", "trials", "given up", "failed", "state", "best", *map(cell, names), "time", "size", "")]
    for row in rows:
        counts = [str(count) if count else "" for count in (row.trials, row.pruned, row.failed)]
        best = "" if row.best is None else str(row.best)
        time = duration(row.seconds) if row.seconds else ""
        metrics = [_metric(row, name) for name in names]
        facts = (str(row.folder), cell(row.model), *counts, row.state, best, *metrics, time, size(row.nbytes))
        cells.append((*facts, cell(row.message)))
    used = [any(line[column] for line in cells[1:]) for column in range(len(cells[0]))]
    shown = [[text for text, is_used in zip(line, used, strict=True) if is_used] for line in cells]
    table(shown, right=[i for i, name in enumerate(shown[0]) if name not in ("study", "model", "state", "")])


def _metric(row: "ListedStudy", name: str) -> str:
    if name not in row.metrics:
        return ""
    error = f" +- {row.errors[name]:.2g}" if name in row.errors else ""
    return number(row.metrics[name]) + error


def _facts(row: "ListedStudy") -> dict[str, Any]:
    """All facts about a study, as JSON has them."""
    metrics = {name: {"value": value, "error": row.errors.get(name)} for name, value in row.metrics.items()}
    return {
        "study": str(row.folder),
        "file": row.model,
        "trials": row.trials,
        "given_up": row.pruned,
        "failed": row.failed,
        "state": row.state,
        "message": row.message,
        "best": row.best,
        "set": row.settings,
        "metrics": metrics,
        "seconds": row.seconds,
        "bytes": row.nbytes,
    }
