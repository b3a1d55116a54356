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
    """Write a page with the curves, the samples that the model gets wrong, its parameters and its file. The page is one
    file that can be read offline.

    Example: netc report runs/iris
    """
    import netc
    from netc.runtime.insight.report import page
    from netc.runtime.runs.checkpoint import write_whole

    path = out or run / "report.html"
    opened = netc.open(run, threads)
    write_whole(path, page(opened).encode())
    options.warn(opened.data_changes, strict=False)
    say(str(path))
