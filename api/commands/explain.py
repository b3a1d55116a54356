"""`netc explain M.net`: the graph after a pass, what a pass or a change of the file did to it, which values share a loop, the kernels that a line became."""

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netc.commands import options
from netc.commands.terminal import say, say_lines, table

if TYPE_CHECKING:
    from netc.compiler.ir.graph import Graph
    from netc.compiler.ir.value import Value
    from netc.compiler.model import Model
    from netc.compiler.passes.tasks import Task


def explain(
    file: options.ModelFile,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            metavar="PASS",
            help="The graph after elaborate, settle, stabilise, reorder, derive, differentiate, update, expand, simplify, hoist, factor, lift or sink.",
        ),
    ] = None,
    line: Annotated[int | None, typer.Option("--line", metavar="N", help="Of one line of the file alone.")] = None,
    diff: Annotated[
        str | None,
        typer.Option(
            "--diff",
            metavar="PASS|FILE",
            help="What became of the graph since that pass, or what another version of the file makes of it.",
        ),
    ] = None,
    fusion: Annotated[
        bool, typer.Option("--fusion", help="Which values share a loop, and why the others do not.")
    ] = False,
    gradient: Annotated[
        bool, typer.Option("--gradient", help="The chain rule as equations, from the loss back to each parameter.")
    ] = False,
    cache: Annotated[bool, typer.Option("--cache", help="When and why each kernel was compiled.")] = False,
    settings: options.Settings = None,
    plugins: options.Plugins = None,
) -> None:
    """Print the training step's graph after a pass, what changed in it, which values share a loop, or the kernels that it became.

    Example: netc explain examples/iris.net --after simplify --diff expand
    """
    from netc.compiler import pipeline
    from netc.compiler.ir.graph import print_graph
    from netc.compiler.kernels.targets import machine_for
    from netc.compiler.passes.lower import lower
    from netc.compiler.passes.storage import as_bytes

    model, _ = options.load(file, settings)
    for name in (after, None if diff is None or os.path.exists(diff) else diff):
        if name is not None and name not in pipeline.stages():
            what = "is no pass" if name == after else "is neither a pass nor a file"
            hint = "--after" if name == after else "--diff"
            raise typer.BadParameter(f"`{name}` {what}: {', '.join(pipeline.stages())}", param_hint=hint)
    if diff is not None:
        _show_difference(model, after or pipeline.stages()[-1], diff, line, settings)
        return
    if after is not None:
        graph = pipeline.training_stages(model)[after]
        say_lines(print_graph(graph).rstrip("\n") if line is None else "\n".join(_of_line(graph, line)))
        return
    if gradient:
        _show_gradient(model)
        return
    graph = pipeline.run_passes(as_bytes(pipeline.training_graph(model), _kept_as_bytes(model)))
    if fusion:
        _show_fusion(graph, line)
        return
    tasks = [
        task
        for task in lower(graph, model.train.batch, machine_for()).tasks
        if line is None or any(value.span.line == line for value in task.values)
    ]
    if cache:
        _show_cache(tasks)
        return
    for task in tasks:
        for value in task.values:
            say(f"# line {value.span.line}: {value.operation} : {value.type}")
        say(f"# {_vectors(task)}")
        is_product = task.kernel.form == "product"
        say_lines(f"product of {task.kernel.text} by the register tile\n" if is_product else task.kernel.text)


def _of_line(graph: "Graph", line: int) -> list[str]:
    """The printed values of one line of the file, and the results that they are; a scan with all of its body, where that has a value of the line."""
    from netc.compiler.ir.graph import Body, print_value

    def is_of_line(value: "Value") -> bool:
        bodies = [item for item in value.keywords.values() if isinstance(item, Body)]
        return value.span.line == line or any(is_of_line(inner) for body in bodies for inner in body.graph.values())

    values = {value for value in graph.values() if is_of_line(value)}
    shown = [text for value in graph.values() if value in values for text in print_value(value)]
    return [*shown, *(f"{name} = %{value.number}" for name, value in graph.results.items() if value in values)]


def _show_difference(model: "Model", after: str, diff: str, line: int | None, settings: list[str] | None) -> None:
    """Of two passes the later against the earlier; of two files this one against the other, which is the version before."""
    from netc.compiler import pipeline
    from netc.compiler.differences import Labels, Lines, as_lines, difference, own_line

    stages = pipeline.training_stages(model)
    if diff in pipeline.stages():
        first, second = sorted((diff, after), key=pipeline.stages().index)
        if first == second:
            raise typer.BadParameter(f"there is nothing between `{diff}` and itself", param_hint="--diff")
        say_lines(f"- after {first}\n+ after {second}")
        labels = Labels()
        before, now = (as_lines(_narrowed(stages[name], line), labels) for name in (first, second))
    else:
        if line is not None:
            raise typer.BadParameter("two files are compared whole", param_hint="--line")
        other, _ = options.load(Path(diff), settings)
        say(f"- {diff}")
        say(f"+ {model.source.name}, after {after}")
        table(_costs(other, model), right=(1, 2))
        of_value = Lines.of(other.source, model.source).of_value
        labels = Labels()
        before = as_lines(pipeline.training_stages(other)[after], labels, own_line)
        now = as_lines(stages[after], labels, of_value)
    found = list(difference(before, now))
    say_lines("\n".join(found) if found else "the same values")


def _narrowed(graph: "Graph", line: int | None) -> "Graph":
    """The graph of what one line's values are and need."""
    if line is None:
        return graph
    return graph.subgraph({f"%{one.number}": one for one in graph.values() if one.span.line == line})[0]


def _costs(one: "Model", other: "Model") -> list[tuple[str, str, str]]:
    """Parameters, work and memory of a step on one thread, of two models."""
    from netc.runtime.step import cost_of_step

    found = []
    for model in (one, other):
        cost = cost_of_step(model, workers=1)
        count = sum(type_.size(1) for type_ in model.parameters.values())
        found.append((count, cost.flops, cost.kept + cost.arenas))
    names = ("parameters", "FLOPs of a step", "bytes of a step")
    rows = [(name, f"{before:,}", f"{now:,}") for name, before, now in zip(names, *found, strict=True)]
    return [("", "before", "now"), *rows]


def _show_fusion(graph: "Graph", line: int | None) -> None:
    """Each loop with its values, in the order in which they run; of each value in memory, who reads it and why not in the same loop."""
    from netc.compiler.passes.fuse import fuse, readers, why_apart

    found = fuse(graph)
    inlined_in = {value: found.users[value][0] for value in found.inlined if len(found.users[value]) == 1}
    for unit in found.units:
        own = set(unit.values)
        again = sorted((one for one in inlined_in if _home(one, inlined_in) in own), key=lambda one: one.number)
        again += [one for one in found.inlined - set(inlined_in) if any(user in own for user in found.users[one])]
        values = sorted({*unit.values, *again}, key=lambda one: one.number)
        if line is not None and not any(value.span.line == line for value in values):
            continue
        kind = "a loop over" if unit.space is not None else "by itself:"
        space = f" [{', '.join(map(str, unit.space))}]" if unit.space is not None else f" {unit.values[0].operation}"
        say(f"{unit.position}  {kind}{space}")
        for value in values:
            kept = "  (never in memory)" if value in inlined_in else "  (computed where it is read)"
            note = "" if value in own else kept
            say(f"     line {value.span.line}: {value.operation} : {value.type}{note}")
        told = dict[str, list[str]]()
        for value in unit.values:
            for user in readers(found, value):
                reader = found.unit_of.get(_home(user, inlined_in))
                if reader is not None and reader is not unit and user not in found.inlined - set(inlined_in):
                    told.setdefault(why_apart(found, value, user), []).append(str(reader.position))
        for why, others in told.items():
            say(f"     apart from {', '.join(dict.fromkeys(others))}: {why}")
        say()


def _home(value: "Value", inlined_in: "dict[Value, Value]") -> "Value":
    """The value in whose loop another one is computed."""
    while value in inlined_in:
        value = inlined_in[value]
    return value


def _vectors(task: "Task") -> str:
    """How wide the vectors of a kernel are, as it was compiled."""
    from netc.compiler.kernels import cache as kept
    from netc.compiler.kernels.compile import parts_of
    from netc.compiler.kernels.targets import machine_for

    entry = kept.entry(parts_of(task.kernel, machine_for()))
    if entry is None:
        return "not compiled yet: training, or `netc check --try`, does it"
    if entry.lanes == 1:
        return "one element at a time"
    return f"vectors of {entry.lanes} elements"


def _show_gradient(model: "Model") -> None:
    """Forward, then backward, each equation with its line."""
    from netc.compiler.equations import derive, lines

    derivation = derive(model)
    say("forward, over a batch of samples:")
    say_lines("\n".join(f"  {line}" for line in lines(derivation.forward)))
    say()
    say("backward; `∂h` is the derivative of the loss by h:")
    say_lines("\n".join(f"  {line}" for line in lines(derivation.backward)))


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
    from netc.compiler.kernels.targets import machine_for

    known = list(kept.entries())
    rows = [("line", "kernel", "cache", "compiled because")]
    for kernel in dict.fromkeys(task.kernel for task in tasks):
        lines = sorted({value.span.line for task in tasks if task.kernel == kernel for value in task.values})
        parts = parts_of(kernel, machine_for())
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
