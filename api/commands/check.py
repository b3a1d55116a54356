"""`netc check M.net`: what a file means, without training: values with shapes, parameters, work and memory of a step."""

import typer

from netc.commands import options
from netc.commands.terminal import number, table


def check(file: options.ModelFile, settings: options.Settings = None, threads: options.Threads = None) -> None:
    """Check a file and print every value with its shape, the parameters, the work and the exact memory of a training step.

    Example: netc check examples/mnist.net
    """
    from netc.compiler import pipeline
    from netc.compiler.cost import flops
    from netc.compiler.kernels.machine import cores
    from netc.compiler.types import Type
    from netc.runtime.data.spec import parse_data
    from netc.runtime.step import step_memory

    model, _ = options.load(file, settings)
    if model.data is not None:
        parse_data(model)
    rows = [("line", "value", "type")]
    for value in model.graph.values():
        if value.operation not in ("parameter", "constant", "arange", "extent"):
            rows.append((str(value.span.line), str(value.attributes.get("name", value.operation)), str(value.type)))
    table(rows, right=(0,))
    typer.echo()
    count = 0
    rows = [("parameter", "shape", "count")]
    for name, type_ in model.parameters.items():
        size = type_.size(1)
        count += size
        rows.append((name, str(type_), f"{size:,}"))
    table([*rows, ("all", "", f"{count:,}")], right=(2,))
    typer.echo()
    for name, value in model.graph.results.items():
        typer.echo(
            f"{name.replace('.', ' ', 1)}: {Type(value.type.dtype, value.type.sample, value.type.classes)} a sample"
        )
    train = model.train
    numbers = ", ".join(f"{key} = {number(value)}" for key, value in train.optimizer.numbers.items())
    typer.echo(
        f"train: {train.optimizer.name}({numbers}), batch {train.batch}, epochs {train.epochs}, seed {train.seed}, {train.precision}"
    )
    if any(name.startswith("loss.") for name in model.graph.results):
        graph = pipeline.run_passes(pipeline.training_graph(model))
        kept, arenas = step_memory(model, threads or cores())
        typer.echo(
            f"a step of {train.batch} samples: {flops(graph, train.batch):,} FLOPs, {kept + arenas:,} bytes ({kept:,} parameters and states, {arenas:,} arenas)"
        )
