"""`netc explain M.net`: the graph after a pass, and the kernels that a source line became."""

from typing import Annotated

import typer

from netc.commands import options


def explain(
    file: options.ModelFile,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="PASS", help="elaborate, differentiate, update, expand or simplify."),
    ] = None,
    line: Annotated[
        int | None, typer.Option("--line", metavar="N", help="The kernels of one line of the file.")
    ] = None,
    settings: options.Settings = None,
) -> None:
    """Print the training step's graph after a pass, or the kernels that it became.

    Example: netc explain examples/iris.net --after simplify
    """
    from netc.compiler import pipeline
    from netc.compiler.graph import print_graph
    from netc.compiler.passes.lower import lower

    model, _ = options.load(file, settings)
    if after is not None and after not in pipeline.STAGES:
        raise typer.BadParameter(f"`{after}` is no pass: {', '.join(pipeline.STAGES)}", param_hint="--after")
    graphs = pipeline.training_stages(model)
    if after is not None:
        typer.echo(print_graph(graphs[after]), nl=False)
        return
    for task in lower(graphs["simplify"]).tasks:
        if line is None or any(value.span.line == line for value in task.values):
            for value in task.values:
                typer.echo(f"# line {value.span.line}: {value.operation} : {value.type}")
            typer.echo(
                task.kernel.text
                if task.kernel.form == "loop"
                else f"product of {task.kernel.text} by the register tile\n"
            )
