"""`netc runs`: compares the runs of a folder."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from netc.commands.terminal import number, say, say_lines, table
from netc.dsl.files import content_of
from netc.dsl.quoting import cell, json_text
from netc.dsl.temporary import is_temporary


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The folder of the runs.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all metrics.")] = False,
) -> None:
    """List the runs of a folder with their epochs and the metrics of the last epoch.

    Example: netc runs
    """
    from netc.runtime.metric_names import watched

    paths = sorted(folder.glob("*/run.json")) if os.path.isdir(folder) else []
    folders = [path.parent for path in paths if not is_temporary(path.parent.name)]
    reports = [row for path in folders if (row := _row(path)) is not None]
    if as_json:
        say_lines(json_text(reports, indent=2))
        return
    if not reports:
        say(f"no runs in {folder}")
        return
    names = list(dict.fromkeys(name for row in reports for name in row["figures"] if watched(name) is None))
    rows = [("run", "epochs", *map(cell, names), "seconds")]
    for row in reports:
        metrics = [number(row["figures"][name]) if name in row["figures"] else "" for name in names]
        rows.append((row["run"], f"{row['epochs']}/{row['of']}", *metrics, f"{row['seconds']:.1f}"))
    table(rows, right=range(1, len(rows[0])))


def _row(folder: Path) -> dict[str, Any] | None:
    """The facts about a run that the table shows; None if its files cannot be read."""
    from netc.runtime.runs.metrics import whole_rows
    from netc.runtime.runs.run_info import decoded

    try:
        info = decoded(content_of(folder / "run.json"))
        last: Mapping[str, Any] = {}
        epochs, seconds = 0, 0.0
        rows: Iterator[Mapping[str, Any]] = whole_rows(folder / "metrics.jsonl")
        for last in rows:
            epochs, seconds = epochs + 1, seconds + float(last["seconds"])
        metrics = {name: value for name, value in last.items() if "." in name and isinstance(value, float)}
        return {
            "run": str(folder),
            "file": info.name,
            "epochs": epochs,
            "of": info.epochs,
            "figures": metrics,
            "seconds": seconds,
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
