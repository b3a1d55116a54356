"""`netc explain M.net`: the graph after a pass, what a pass or a change of the file changes in it, fusion, kernels."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netc.commands import options
from netc.commands.explain_gradient import show_gradient
from netc.commands.explain_kernels import show_cache, show_fusion, show_kernels
from netc.commands.explain_program import STAGES, lowered, show_program, tasks_of_line
from netc.commands.terminal import say, say_lines, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netc.compiler.ir.graph import Graph
    from netc.compiler.ir.value import Value
    from netc.compiler.model import Model


# The options, in the order of the help page.
_File = Annotated[Path, typer.Argument(metavar="M.net", help="The model's file; with DATA, a run's folder.")]
_Data = Annotated[
    Path | None,
    typer.Argument(metavar="DATA", help="A file with rows: explain the predictions of a run for them."),
]
_After = Annotated[
    str | None,
    typer.Option(
        "--after",
        metavar="PASS",
        help="Print the graph after elaborate, specialise, stabilise, reorder, derive, differentiate, update, expand, "
        "simplify, hoist, factor, lift, sink or recompute; or the tasks of the step (lower), or its phases and "
        "addresses (plan).",
    ),
]
_Line = Annotated[int | None, typer.Option("--line", metavar="N", help="Only for one line of the file.")]
_Diff = Annotated[
    str | None,
    typer.Option(
        "--diff",
        metavar="PASS|FILE",
        help="Print how the graph has changed since that pass, or from another version of the file.",
    ),
]
_Fusion = Annotated[bool, typer.Option("--fusion", help="Print which values share a loop, and why others do not.")]
_Gradient = Annotated[
    bool,
    typer.Option(
        "--gradient",
        help="Print the equations of the model: from its inputs to the loss, and from the loss back to each parameter.",
    ),
]
_Latex = Annotated[bool, typer.Option("--latex", help="With `--gradient`: print the equations as LaTeX.")]
_Values = Annotated[
    bool,
    typer.Option(
        "--values",
        help="With `--gradient`: print the numbers of each equation, for one row of the data and the parameters "
        "that training begins with.",
    ),
]
_Row = Annotated[
    int | None,
    typer.Option(
        "--row",
        metavar="N",
        help="With `--values` or DATA: the row of the data (default: the first; three of DATA), by the number that "
        "messages give it: the line in a csv file, whose header is line 1; otherwise counted from 1.",
    ),
]
_Output = Annotated[
    str | None,
    typer.Option("--output", metavar="NAME", help="With DATA: the output (default: that of the first target)."),
]
_Out = Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="With DATA: write a page (.html).")]
_Cache = Annotated[bool, typer.Option("--cache", help="Print when and why each kernel was compiled.")]
_Kernels = Annotated[bool, typer.Option("--kernels", help="Print the text of each kernel of a training step.")]
_Ranks = Annotated[
    int | None,
    typer.Option(min=2, max=4096, metavar="N", help="With `--after plan`: what N ranks of MPI share out and gather."),
]


def explain(
    file: _File,
    data: _Data = None,
    after: _After = None,
    line: _Line = None,
    diff: _Diff = None,
    fusion: _Fusion = False,
    gradient: _Gradient = False,
    latex: _Latex = False,
    values: _Values = False,
    row: _Row = None,
    output: _Output = None,
    out: _Out = None,
    kernels: _Kernels = False,
    cache: _Cache = False,
    ranks: _Ranks = None,
    settings: options.Settings = None,
    plugins: options.Plugins = None,
    threads: options.Threads = None,
) -> None:
    """Print what the compiler makes of a file: equations, the graph after a pass, loops, kernels. `netc explain RUN
    DATA` prints how much each column, word or pixel contributes to a prediction.

    Example: netc explain examples/iris.net --gradient
    """
    if data is not None:
        from netc.commands.explain_rows import explain_rows

        explain_rows(file, data, output, row, out, threads)
        return
    _refuse_idle("DATA", {"--threads": threads, "--output": output, "--out": out})
    if not gradient:
        _refuse_idle("--gradient", {"--latex": latex or None, "--values": values or None, "--row": row})
    model, _ = options.load(file, settings)
    _check_line(model, line)
    _check_stages(after, diff, line)
    _check_ranks(ranks, after, model)
    if diff is not None:
        _show_difference(model, after, diff, line, settings)
    elif after is not None and after not in STAGES:
        _show_graph(model, after, line)
    elif gradient:
        show_gradient(model, line, latex, values or row is not None, row)
    elif after is not None:
        show_program(model, _step(model), after, line, ranks)
    elif fusion:
        show_fusion(_step(model), line)
    elif line is None and not kernels and not cache:
        _show_choices(file)
    else:
        tasks = tasks_of_line(lowered(model, _step(model))[0].tasks, line)
        (show_cache if cache else show_kernels)(tasks)


def _refuse_idle(needed: str, idle: "Mapping[str, object]") -> None:
    """Raises BadParameter for the first of these options that is set: they only apply together with `needed`."""
    name = next((name for name, value in idle.items() if value is not None), None)
    if name is not None:
        raise typer.BadParameter(f"it only applies with {needed}", param_hint=name)


_CHOICES = (
    ("--gradient", "the equations of the model, and of its derivatives"),
    ("--gradient --values", "the same with numbers, for one row of the data"),
    ("--after elaborate", "the graph of values, each with its shape and its line"),
    ("--after lower --line N", "the computations of one line of the file"),
    ("--fusion", "which values share a loop, and why others do not"),
    ("--kernels", "the text of each kernel of a training step"),
)


def _show_choices(file: Path) -> None:
    """Prints what can be explained of a file, and the command for each."""
    say("What can be explained of a file:")
    table([(f"  netc explain {file} {choice}", meaning) for choice, meaning in _CHOICES], wraps=True)
    say()
    say(f"`netc check {file}` prints its layers, and `netc show {file}` draws it.")
    say("`netc explain RUN DATA` says how much each column contributes to predictions of a trained run.")


def _show_graph(model: "Model", after: str, line: int | None) -> None:
    """Prints the graph after a pass, or what of it is of one line."""
    from netc.compiler import pipeline
    from netc.compiler.ir.graph import print_graph

    graph = pipeline.training_stages(model)[after]
    say_lines("\n".join(_values_of_line(graph, line)) if line is not None else print_graph(graph).rstrip("\n"))


def _step(model: "Model") -> "Graph":
    """The graph of a training step after all passes."""
    from netc.compiler import pipeline
    from netc.compiler.passes.storage import as_bytes

    return pipeline.run_passes(as_bytes(pipeline.training_graph(model), _kept_as_bytes(model)))


def _check_line(model: "Model", line: int | None) -> None:
    """Raises BadParameter for a line that the file does not have."""
    count = model.source.text.rstrip().count("\n") + 1
    if line is not None and not 1 <= line <= count:
        raise typer.BadParameter(f"the file has the lines 1 to {count}", param_hint="--line")


def _check_stages(after: str | None, diff: str | None, line: int | None) -> None:
    """Raises BadParameter (wrong usage) unless `after` is a stage, and `diff` a pass or a path that exists.

    Below the graph nothing can be compared, and a plan is printed as a whole.
    """
    from netc.compiler import pipeline

    stages = pipeline.stages()
    if after is not None and after not in (*stages, *STAGES):
        raise typer.BadParameter(f"`{after}` is not a pass: {', '.join((*stages, *STAGES))}", param_hint="--after")
    if diff is not None and after in STAGES:
        raise typer.BadParameter(f"it cannot be used with --after {after}", param_hint="--diff")
    if line is not None and after == "plan":
        raise typer.BadParameter("it cannot be used with --after plan", param_hint="--line")
    if diff is not None and not os.path.exists(diff) and diff not in stages:
        raise typer.BadParameter(f"`{diff}` is neither a pass nor a file: {', '.join(stages)}", param_hint="--diff")


def _check_ranks(ranks: int | None, after: str | None, model: "Model") -> None:
    """Raises BadParameter (wrong usage) unless the ranks can share the shards of a batch, and a plan is printed."""
    if ranks is None:
        return
    if after != "plan":
        raise typer.BadParameter("it only applies with --after plan", param_hint="--ranks")
    if ranks & (ranks - 1) or ranks > model.train.shards:
        message = f"{ranks} ranks cannot share the {model.train.shards} shards of a batch"
        raise typer.BadParameter(message, param_hint="--ranks")


def _values_of_line(graph: "Graph", line: int) -> list[str]:
    """Prints the values and results of one line. A scan is printed if its body has a value of the line."""
    from netc.compiler.ir.graph import Body, print_value

    def is_of_line(value: "Value") -> bool:
        bodies = [item for item in value.keywords.values() if isinstance(item, Body)]
        return value.span.line == line or any(is_of_line(inner) for body in bodies for inner in body.graph.values())

    values = {value for value in graph.values() if is_of_line(value)}
    shown = [text for value in graph.values() if value in values for text in print_value(value)]
    return [*shown, *(f"{result} = %{value.number}" for result, value in graph.results.items() if value in values)]


def _show_difference(
    model: "Model", after: str | None, diff: str, line: int | None, settings: list[str] | None
) -> None:
    """Prints what changed between two passes, or between another version of the file and this one.

    Without `after` the graph is that after the last pass.
    """
    from netc.compiler import pipeline
    from netc.compiler.analysis.differences import Labels, Lines, as_lines, difference, line_in_file

    stages = pipeline.training_stages(model)
    after = after or pipeline.stages()[-1]
    if diff in pipeline.stages():
        first, second = sorted((diff, after), key=pipeline.stages().index)
        if first == second:
            raise typer.BadParameter(f"`{diff}` is compared with itself", param_hint="--diff")
        say_lines(f"- after {first}\n+ after {second}")
        labels = Labels()
        before, now = (as_lines(_narrowed(stages[name], line), labels) for name in (first, second))
    else:
        if line is not None:
            raise typer.BadParameter("it cannot be used with --diff FILE", param_hint="--line")
        other, _ = options.load(Path(diff), settings)
        say(f"- {diff}")
        say(f"+ {model.source.name}, after {after}")
        table(_costs(other, model), right=(1, 2))
        of_value = Lines.of(other.source, model.source).of_value
        labels = Labels()
        before = as_lines(pipeline.training_stages(other)[after], labels, line_in_file)
        now = as_lines(stages[after], labels, of_value)
    changes = list(difference(before, now))
    say_lines("\n".join(changes) if changes else "the same values")


def _narrowed(graph: "Graph", line: int | None) -> "Graph":
    """The part of the graph that computes the values of one line."""
    if line is None:
        return graph
    from netc.compiler.ir.results import ResultKind

    values = [value for value in graph.values() if value.span.line == line]
    return graph.subgraph({ResultKind.VALUE.named(f"%{value.number}"): value for value in values})[0]


def _costs(before: "Model", now: "Model") -> list[tuple[str, str, str]]:
    """Parameters, FLOPs and memory of a step on one thread, of two models."""
    from netc.runtime.execution.step_cost import cost_of_step

    costs = []
    for model in (before, now):
        cost = cost_of_step(model, workers=1)
        count = model.parameter_count
        costs.append((count, cost.flops, cost.kept + cost.arenas))
    names = ("parameters", "FLOPs of a step", "bytes of a step")
    rows = [(name, f"{first:,}", f"{second:,}") for name, first, second in zip(names, *costs, strict=True)]
    return [("", "before", "now"), *rows]


def _kept_as_bytes(model: "Model") -> frozenset[str]:
    """The fields of the data that stay bytes, which decides their kernels. Empty if no data can be read."""
    from netc.dsl.diagnostics import Fault
    from netc.runtime.data.block.spec import parse_data
    from netc.runtime.data.dataset import load
    from netc.runtime.execution.fields import kept_as_bytes

    try:
        return kept_as_bytes(load(model, parse_data(model)).parts["train"])
    except Fault:
        return frozenset()
