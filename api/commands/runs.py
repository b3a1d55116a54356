"""`netc runs`: the runs of a folder side by side."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from netc.commands.terminal import number, table
from netc.dsl.quoting import json_text, with_nan
from netc.dsl.temporary import is_temporary


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the runs lie.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with all figures.")] = False,
) -> None:
    """List the runs of a folder: epochs, and the figures of the last one.

    Example: netc runs
    """
    folders = [path.parent for path in sorted(folder.glob("*/run.json")) if not is_temporary(path.parent.name)]
    found = [row for path in folders if (row := _row(path)) is not None]
    if as_json:
        typer.echo(json_text(found, indent=2))
        return
    if not found:
        typer.echo(f"no runs in {folder}")
        return
    names = list(dict.fromkeys(name for row in found for name in row["figures"] if "watch." not in name))
    rows = [("run", "epochs", *names, "seconds")]
    for row in found:
        cells = [number(row["figures"][name]) if name in row["figures"] else "" for name in names]
        rows.append((row["run"], f"{row['epochs']}/{row['of']}", *cells, f"{row['seconds']:.1f}"))
    table(rows, right=range(1, len(rows[0])))


def _row(folder: Path) -> dict[str, Any] | None:
    """What the table says of a run; None if its files are not to be read."""
    from netc.runtime.run_info import decoded

    try:
        info = decoded((folder / "run.json").read_bytes())
        text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
        rows = [with_nan(json.loads(line)) for line in text.splitlines()]
        last = rows[-1] if rows else {}
        figures = {name: value for name, value in last.items() if "." in name and isinstance(value, float)}
        seconds = sum(float(row["seconds"]) for row in rows)
        return {
            "run": str(folder),
            "file": info.name,
            "epochs": len(rows),
            "of": info.epochs,
            "figures": figures,
            "seconds": seconds,
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
