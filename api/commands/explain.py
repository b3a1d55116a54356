"""`netc explain M.net`: the graph after a pass, the kernels that a source line became, and why they were compiled."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from netc.commands import options
from netc.commands.terminal import table

if TYPE_CHECKING:
    from netc.compiler.model import Model
    from netc.compiler.passes.tasks import Task


def explain(
    file: options.ModelFile,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            metavar="PASS",
            help="elaborate, settle, stabilise, reorder, derive, differentiate, update, expand, simplify, hoist, factor, lift or sink.",
        ),
    ] = None,
    line: Annotated[
        int | None, typer.Option("--line", metavar="N", help="The kernels of one line of the file.")
    ] = None,
    gradient: Annotated[
        bool, typer.Option("--gradient", help="The chain rule as equations, from the loss back to each parameter.")
    ] = False,
    cache: Annotated[bool, typer.Option("--cache", help="When and why each kernel was compiled.")] = False,
    settings: options.Settings = None,
    plugins: options.Plugins = None,
) -> None:
    """Print the training step's graph after a pass, or the kernels that it became.

    Example: netc explain examples/iris.net --after simplify
    """
    from netc.compiler import pipeline
    from netc.compiler.graph import print_graph
    from netc.compiler.passes.lower import lower
    from netc.compiler.passes.storage import as_bytes

    model, _ = options.load(file, settings)
    if after is not None and after not in pipeline.STAGES:
        raise typer.BadParameter(f"`{after}` is no pass: {', '.join(pipeline.STAGES)}", param_hint="--after")
    if after is not None:
        typer.echo(print_graph(pipeline.training_stages(model)[after]), nl=False)
        return
    if gradient:
        _show_gradient(model)
        return
    graph = pipeline.run_passes(as_bytes(pipeline.training_graph(model), _kept_as_bytes(model)))
    tasks = [
        task
        for task in lower(graph, model.train.batch).tasks
        if line is None or any(value.span.line == line for value in task.values)
    ]
    if cache:
        _show_cache(tasks)
        return
    for task in tasks:
        for value in task.values:
            typer.echo(f"# line {value.span.line}: {value.operation} : {value.type}")
        is_product = task.kernel.form == "product"
        typer.echo(f"product of {task.kernel.text} by the register tile\n" if is_product else task.kernel.text)


def _show_gradient(model: "Model") -> None:
    """Forward, then backward, each equation with its line."""
    from netc.compiler.equations import derive, lines

    derivation = derive(model)
    typer.echo("forward, over a batch of samples:")
    typer.echo("\n".join(f"  {line}" for line in lines(derivation.forward)))
    typer.echo("\nbackward; `∂h` is the derivative of the loss by h:")
    typer.echo("\n".join(f"  {line}" for line in lines(derivation.backward)))


def _kept_as_bytes(model: "Model") -> frozenset[str]:
    """Which fields of the model's data stay bytes: their kernels are others. None where there is no data to be read."""
    from netc.dsl.diagnostics import Fault
    from netc.runtime.data.dataset import load
    from netc.runtime.data.spec import parse_data
    from netc.runtime.program import kept_as_bytes

    try:
        return kept_as_bytes(load(model, parse_data(model)).parts["train"])
    except Fault:
        return frozenset()


def _show_cache(tasks: "list[Task]") -> None:
    """A row for each kernel: the lines it serves, whether it is in the cache, and why it was (or would be) compiled."""
    from netc.compiler.kernels import cache as kept
    from netc.compiler.kernels.compile import parts_of
    from netc.compiler.kernels.machine import host

    known = list(kept.entries())
    rows = [("line", "kernel", "cache", "compiled because")]
    for kernel in dict.fromkeys(task.kernel for task in tasks):
        lines = sorted({value.span.line for task in tasks if task.kernel == kernel for value in task.values})
        parts = parts_of(kernel, host())
        entry = kept.entry(parts)
        rows.append(
            (
                ",".join(map(str, lines)),
                parts.name[:8],
                f"since {datetime.fromtimestamp(entry.made):%Y-%m-%d %H:%M:%S}" if entry else "not in it",
                entry.why if entry else kept.why_missing(parts, known),
            )
        )
    table(rows)
