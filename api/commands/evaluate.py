"""`netc eval RUN`: the losses and metrics of a run on one part of its data."""

from typing import Annotated

import typer

from netc.commands import options
from netc.commands.terminal import matrices, metrics_text, say, say_lines
from netc.dsl.quoting import json_text


def evaluate(
    run: options.RunFolder,
    part: Annotated[str, typer.Option(help="Which part of the split.")] = "test",
    without_intervals: Annotated[
        bool, typer.Option("--no-intervals", help="Leave out the 95 % bootstrap interval behind each metric.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with watched values.")] = False,
    threads: options.Threads = None,
    plugins: options.Plugins = None,
) -> None:
    """Evaluate a run on one part of its data.

    Example: netc eval runs/iris --part valid
    """
    import netc

    opened = netc.open(run, threads)
    metrics, intervals = (opened.evaluate(part), {}) if without_intervals else opened.evaluate_with_intervals(part)
    options.warn(opened.data_changes, strict=False)
    for remark in opened.load_data().remarks.get(part, ()):
        say(f"note: {part}, {remark}", is_error=True)
    if as_json:
        shown = {} if without_intervals else {"intervals": intervals}
        say_lines(json_text({"part": part, **metrics, **shown}, indent=2))
        return
    say(f"{part}  {metrics_text(metrics, intervals=intervals)}")
    matrices(metrics)
