"""`netc runs`: compares the runs of a folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netc.commands import conditions
from netc.commands.quantities import duration, number, size
from netc.commands.terminal import say, say_lines, table
from netc.dsl.quoting import cell, json_text

if TYPE_CHECKING:
    from netc.runtime.runs.listing import Listed


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the runs.")] = Path("runs"),
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION", help="Only runs of which this is true, such as 'valid.loss < 0.1'. May be repeated."
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option(metavar="NAME", help="Sort by a column, a metric or a setting of `--set`.")
    ] = "run",
    is_reversed: Annotated[bool, typer.Option("--reverse", help="Sort from the largest to the least.")] = False,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Only this metric, such as valid.loss. May be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all metrics.")] = False,
) -> None:
    """List the runs of a folder: epochs, state, metrics, time and size. Metrics are those of the epoch that `keep`
    kept, or of the last one; a cross-validation has the means of its folds, which follow it.

    Example: netc runs --sort valid.loss
    """
    from netc.runtime.studies.listing import listed_in

    rows = [row for row in listed_in(folder) if _holds(row, where or [])]
    rows = _sorted(rows, sort, is_reversed)
    if as_json:
        say_lines(json_text([_facts(row) for row in rows], indent=2))
        return
    if not rows:
        say(f"no runs in {folder}" if not where else f"no such runs in {folder}")
        return
    _print(rows, metrics or [])


def _holds(row: "Listed", texts: Sequence[str]) -> bool:
    facts = _columns_of(row)
    return all(conditions.holds(text, facts, "--where") for text in texts)


def _sorted(rows: "list[Listed]", name: str, is_reversed: bool) -> "list[Listed]":
    """The rows in the order of a column. Those without a value there come last. Raises BadParameter for a name that no
    row has."""
    facts = [_columns_of(row) for row in rows]
    keys = [*dict.fromkeys(key for each in facts for key in each)]
    if rows and name not in keys:
        raise typer.BadParameter(f"no run has `{name}`: there are {', '.join(keys)}", param_hint="--sort")
    order = conditions.order([each.get(name) for each in facts], is_reversed)
    return [rows[i] for i in order]


def _columns_of(row: "Listed") -> dict[str, Any]:
    """The values by which runs are sorted and chosen: facts, settings of `--set`, metrics."""
    return {
        "run": str(row.folder),
        "kind": row.kind,
        "model": row.model,
        "epochs": row.epochs,
        "state": row.state,
        "seconds": row.seconds,
        "size": row.nbytes,
        **row.settings,
        **row.last,
        **row.metrics,
    }


def _facts(row: "Listed") -> dict[str, Any]:
    """All facts about a run, as JSON has them."""
    from netc.runtime.studies.listing import means_of_parts

    facts: dict[str, Any] = {
        "run": str(row.folder),
        "kind": row.kind,
        "file": row.model,
        "epochs": row.epochs,
        "of": row.of,
        "kept": row.kept,
        "state": row.state,
        "message": row.message,
        "set": row.settings,
        "figures": row.last,
        "metrics": row.metrics,
        "seconds": row.seconds,
        "bytes": row.nbytes,
    }
    if row.kind == "folds":
        facts["mean"] = {name: {"value": mean.value, "error": mean.error} for name, mean in means_of_parts(row).items()}
        facts["folds"] = [_facts(part) for part in row.parts]
    return facts


def _print(rows: "Sequence[Listed]", chosen: Sequence[str]) -> None:
    """Prints the table, with the folds of a cross-validation below it."""
    lines = [line for row in rows for line in _lines(row)]
    names = list(chosen) or [*dict.fromkeys(name for _, row in lines for name in _shown_metrics(row))]
    cells = [("run", "model", "epochs", "state", *map(cell, names), "time", "size", "")]
    for name, row in lines:
        metrics = [number(value) if (value := row.metrics.get(each)) is not None else "" for each in names]
        time = duration(row.seconds) if row.seconds else ""
        facts = (name, cell(row.model), _epochs(row), row.state, *metrics, time, size(row.nbytes), cell(row.message))
        cells.append(facts)
    used = [any(line[column] for line in cells[1:]) for column in range(len(cells[0]))]
    shown = [[text for text, is_used in zip(line, used, strict=True) if is_used] for line in cells]
    right = [i for i, name in enumerate(shown[0]) if name not in ("run", "model", "state", "")]
    table(shown, right=right)


def _lines(row: "Listed") -> "Iterator[tuple[str, Listed]]":
    """A row and those of its folds, with their names."""
    yield str(row.folder), row
    yield from ((f"  {part.folder.name}", part) for part in row.parts)


def _shown_metrics(row: "Listed") -> list[str]:
    """The metrics of the validation and the test part; of a run without these, those of the training part."""
    names = [name for name in row.metrics if not name.startswith("train.")]
    return names if any(name.startswith("valid.") for name in names) else [*row.metrics]


def _epochs(row: "Listed") -> str:
    """The epochs that were done, and the one that was kept; for a cross-validation, the folds."""
    if not row.of:
        return ""
    if row.kind == "folds":
        return f"{row.epochs}/{row.of} folds"
    kept = f", {row.kept} kept" if row.kept is not None else ""
    return f"{row.epochs}/{row.of}{kept}"
