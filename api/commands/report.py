"""`netc report RUN`: writes an HTML page about a run."""

from pathlib import Path
from typing import Annotated

import typer

from netc.commands import options
from netc.commands.terminal import say


def report(
    run: options.RunFolder,
    others: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN", help="Further runs: the page compares all of them.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="The page's file (default: report.html in the run, or comparison.html here).",
        ),
    ] = None,
    threads: options.Threads = None,
    plugins: options.Plugins = None,
) -> None:
    """Write a page with the curves of a run, what it gets wrong and why, and its file; for `netc train --folds`, with
    each fold and the mean of all. Several runs are compared: their metrics with intervals, their curves in the same
    plots, and the differences of their settings and files. The page is one file that can be read offline.

    Example: netc report runs/iris
    """
    import netc
    from netc.runtime.insight.report import page
    from netc.runtime.runs.checkpoint import write_whole
    from netc.runtime.studies.folds import is_folds

    if others:
        _compare([run, *others], out or Path("comparison.html"), threads)
        return
    path = out or run / "report.html"
    if is_folds(run):
        from netc.runtime.studies.folds_report import folds_page

        write_whole(path, folds_page(run).encode())
        say(str(path))
        return
    opened = netc.open(run, threads)
    write_whole(path, page(opened).encode())
    options.warn(opened.data_changes, strict=False)
    say(str(path))


def _compare(folders: list[Path], path: Path, threads: int | None) -> None:
    """Writes the page that compares some runs."""
    import netc
    from netc.runtime.insight.comparison import MOST_RUNS, comparison_page
    from netc.runtime.runs.checkpoint import write_whole

    if len(folders) > MOST_RUNS:
        raise typer.BadParameter(f"{len(folders)} are more than {MOST_RUNS} runs", param_hint="RUN")
    runs = [netc.open(folder, threads) for folder in folders]
    write_whole(path, comparison_page(runs).encode())
    for run in runs:
        options.warn(run.data_changes, strict=False)
    say(str(path))
