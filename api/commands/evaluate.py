"""`netc eval RUN`: the losses and metrics of a run on a part of its data."""

from typing import Annotated

import typer

from netc.commands import options
from netc.commands.terminal import figures, matrices


def evaluate(
    run: options.RunFolder,
    part: Annotated[str, typer.Option(help="Which part of the split.")] = "test",
    threads: options.Threads = None,
) -> None:
    """Evaluate a run on a part of its data.

    Example: netc eval runs/iris --part valid
    """
    import netc

    found = netc.open(run, threads).evaluate(part)
    typer.echo(f"{part}  {figures(found)}")
    matrices(found)
