"""`netc report RUN`: writes an HTML page about a run."""

from pathlib import Path
from typing import Annotated

import typer

from netc.commands import options
from netc.commands.terminal import say


def report(
    run: options.RunFolder,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="The page's file (default: report.html in the run)."),
    ] = None,
    threads: options.Threads = None,
    plugins: options.Plugins = None,
) -> None:
    """Write a page with the curves, the samples that the model gets wrong, its parameters and its file; for `netc train
    --folds`, with each fold and the mean of all. The page is one file that can be read offline.

    Example: netc report runs/iris
    """
    import netc
    from netc.runtime.insight.report import page
    from netc.runtime.runs.checkpoint import write_whole
    from netc.runtime.studies.folds import is_folds

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
