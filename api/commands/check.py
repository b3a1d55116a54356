"""`netc check M.net`: checks a file and its data, and computes what a training step costs."""

from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from netc.commands import options
from netc.commands.check_facts import facts_of, print_facts
from netc.commands.check_ranks import facts_of_ranks, network_of, print_ranks
from netc.commands.launched import refuse_ranks
from netc.commands.terminal import say, say_lines
from netc.commands.verification import verify_model
from netc.dsl.quoting import json_text
from netc.runtime.distributed.launch import launched_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netc.commands.outside import OutsideData
    from netc.compiler.model import Model
    from netc.dsl.diagnostics import Diagnostic
    from netc.runtime.data.dataset import Dataset
    from netc.runtime.program import Program


_VERIFY = (
    "Compute everything in several ways that must agree, on synthetic samples: before and after each pass, interpreted "
    "and compiled, derivatives by finite differences. The output belongs in a bug report. Exit status 1 if something "
    "differs."
)


# The options, in the order of the help page.
_Resolved = Annotated[bool, typer.Option("--resolved", help="Print only the file, with every default filled in.")]
_Try = Annotated[bool, typer.Option("--try", help="Run two steps on synthetic data of the declared types.")]
_Verify = Annotated[
    bool,
    typer.Option("--verify", help=_VERIFY),
]
_Data = Annotated[
    bool, typer.Option("--data", help="With `--verify`: use the first training samples of the file's data.")
]
_Values = Annotated[
    bool, typer.Option("--values", help="Print every value of the graph and every parameter too, with its shape.")
]
_Ranks = Annotated[
    int | None,
    typer.Option(min=2, max=4096, metavar="N", help="Predict a training step on up to N ranks of MPI."),
]
_Latency = Annotated[
    float | None, typer.Option(min=0, metavar="US", help="With `--ranks`: microseconds until a message arrives.")
]
_Bandwidth = Annotated[
    float | None,
    typer.Option(min=0.001, metavar="GB", help="With `--ranks`: gigabytes per second that a rank receives."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def check(
    file: options.ModelFile,
    settings: options.Settings = None,
    plugins: options.Plugins = None,
    strict: options.Strict = False,
    resolved: _Resolved = False,
    try_it: _Try = False,
    verify: _Verify = False,
    data: _Data = False,
    values: _Values = False,
    ranks: _Ranks = None,
    latency: _Latency = None,
    bandwidth: _Bandwidth = None,
    as_json: _Json = False,
    threads: options.Threads = None,
) -> None:
    """Check a file and its data, and print a row for each layer: its shape, its parameters and its FLOPs; then the
    FLOPs and the memory of a training step. Files that are read outside of its folder are named.

    Example: netc check examples/mnist.net
    """
    from netc.commands.outside import OutsideData
    from netc.runtime.data.reuse import reused

    _refuse_idle(ranks, latency, bandwidth, other="--verify" if verify else "--resolved" if resolved else "")
    if ranks is None:
        refuse_ranks("check without --ranks")
    network = network_of(latency, bandwidth)
    if launched_rank() > 0:  # it has helped to measure the network
        return
    outside = OutsideData(file)
    with reused():
        with outside.named():
            model, constants = options.load(file, settings, strict)
        if model.data is not None:
            outside.name_sources(model)
        if resolved:
            _print_resolved(model)
            return
        if verify:
            _verify(model, outside, data, as_json)
        if data:
            raise typer.BadParameter("it only applies with --verify", param_hint="--data")
        with outside.named():
            of_data, dataset = _warnings(model, constants, strict)
    options.warn(of_data, strict)
    facts = _facts(model, dataset, try_it, threads)
    if ranks is not None:
        facts["ranks"] = facts_of_ranks(model, ranks, network)
    if as_json:
        _print_json(facts, [*model.warnings, *of_data], outside)
    else:
        print_facts(model, facts, values)
        if ranks is not None:
            print_ranks(facts["ranks"])


def _print_resolved(model: "Model") -> None:
    from netc.runtime.resolved import resolved_text

    say_lines(resolved_text(model).removesuffix("\n"))


def _refuse_idle(ranks: int | None, latency: float | None, bandwidth: float | None, other: str) -> None:
    """Refuses options of a prediction for ranks where there is none: `other` is what the command does instead."""
    if ranks is not None and other:
        raise typer.BadParameter(f"it does not apply with {other}", param_hint="--ranks")
    for name, number in (("--latency", latency), ("--bandwidth", bandwidth)):
        if number is not None and ranks is None:
            raise typer.BadParameter("it only applies with --ranks", param_hint=name)


def _verify(model: "Model", outside: "OutsideData", with_data: bool, as_json: bool) -> NoReturn:
    """Computes the model in several ways, and exits with status 1 if something differs."""
    with outside.named():
        report = verify_model(model, with_data, quietly=as_json)
    if as_json:
        say_lines(json_text(report, indent=2))
    raise typer.Exit(0 if report["ok"] else 1)


def _facts(model: "Model", dataset: "Dataset | None", is_tried: bool, threads: int | None) -> "dict[str, Any]":
    """The facts to print about a model; if it is tried, with the losses of two steps, which leave their plan in the
    cache."""
    program, losses = _two_steps(model, threads) if is_tried else (None, [])
    facts = facts_of(model, threads, dataset, program)
    return {**facts, "tried": losses} if is_tried else facts


def _print_json(facts: "dict[str, Any]", warnings: "Sequence[Diagnostic]", outside: "OutsideData") -> None:
    listed = [{"code": warning.code, "title": warning.title, "line": warning.primary.span.line} for warning in warnings]
    say_lines(json_text({**facts, "warnings": listed, "outside": list(outside.paths)}, indent=2))


def _warnings(model: "Model", constants: "dict[str, Any]", strict: bool) -> "tuple[list[Diagnostic], Dataset | None]":
    """The warnings about a file's data and its training, and the data. Raises Fault where one of them is wrong.

    Data that is not there is no fault of the file: a note on the error stream says that it was not checked. With
    `strict` it raises E0801.
    """
    from netc.runtime.training.checks import check_parts, check_schedules, check_training

    if model.train.start_from is not None:
        from netc.runtime.runs.start_from import check_start_from

        check_start_from(model)
    if model.study is not None:
        from netc.runtime.studies.check import check_study

        check_study(model, constants)
    if model.data is not None:
        from netc.dsl.storage.near_files import near_file
        from netc.runtime.data.block.spec import parse_data
        from netc.runtime.data.dataset import load
        from netc.runtime.data.source_record import files_of

        spec = parse_data(model)
        if spec.split.parts is not None:
            check_parts(model, spec.split.parts)
        sources = (spec.source, *(source for _, source in spec.split.sources))
        absent = [source.path for source in sources if not files_of(source, model.source.folder)]
        if strict or not absent:
            dataset = load(model, spec)
            return [*dataset.warnings, *check_training(model, dataset)], dataset
        hint = near_file(absent[0], model.source.folder)
        why = f"`{absent[0]}` is not there{f': {hint}' if hint else ''}"
        say(f"note: the data was not checked, because {why}", is_error=True)
    return check_schedules(model), None


def _two_steps(model: "Model", threads: int | None) -> "tuple[Program, list[float]]":
    """A program of the model, and the losses of two training steps. Raises Fault E1002 if one is NaN or infinite."""
    import math

    from netc.compiler.ir.results import ResultKind
    from netc.dsl.diagnostics import fault
    from netc.runtime.available import NotEnough, refuse
    from netc.runtime.data.synthetic import synthetic_data
    from netc.runtime.program import Program
    from netc.runtime.settings import setting_span

    program = Program(model, threads=threads)
    try:
        fields = synthetic_data(model, model.train.batch * model.train.accumulate)
    except NotEnough as lack:
        refuse(lack, setting_span(model, "batch"))
    losses = [program.step(fields)["loss"] for _ in range(2)]
    if not all(math.isfinite(loss) for loss in losses):
        span = next(iter(model.graph.results_of(ResultKind.LOSS).values())).span
        fault("E1002", "the loss on synthetic data is not a number", span, f"{losses[0]:g}, then {losses[1]:g}")
    return program, losses
