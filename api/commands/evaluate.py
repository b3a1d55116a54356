"""`netc eval RUN`: the losses and metrics of a run on a part of its data."""

from typing import Annotated

import typer

from netc.commands import options
from netc.commands.terminal import figures, matrices, say, say_lines
from netc.dsl.quoting import json_text


def evaluate(
    run: options.RunFolder,
    part: Annotated[str, typer.Option(help="Which part of the split.")] = "test",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, watched values too.")] = False,
    threads: options.Threads = None,
    plugins: options.Plugins = None,
) -> None:
    """Evaluate a run on a part of its data.

    Example: netc eval runs/iris --part valid
    """
    import netc

    found = netc.open(run, threads).evaluate(part)
    if as_json:
        say_lines(json_text({"part": part, **found}, indent=2))
        return
    say(f"{part}  {figures(found)}")
    matrices(found)
