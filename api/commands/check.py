"""`netc check M.net`: values with shapes, parameters, and the FLOPs and memory of a training step."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from netc.commands import options
from netc.commands.check_ranks import facts_of_ranks, network_of, print_ranks
from netc.commands.launched import refuse_ranks
from netc.commands.terminal import number, say, say_lines, table
from netc.commands.verification import verify_model
from netc.compiler.ir.roles import Role
from netc.dsl.quoting import json_text
from netc.runtime.distributed.launch import launched_rank

if TYPE_CHECKING:
    from netc.compiler.model import Model
    from netc.dsl.diagnostics import Diagnostic
    from netc.runtime.data.dataset import Dataset
    from netc.runtime.program import Program


_VERIFY = (
    "Compute everything in several ways that must agree, on synthetic samples: before and after each pass, interpreted "
    "and compiled, derivatives by finite differences. The output belongs in a bug report. Exit status 1 if something "
    "differs."
)


def check(
    file: options.ModelFile,
    settings: options.Settings = None,
    plugins: options.Plugins = None,
    strict: options.Strict = False,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print only the file, with every default filled in.")
    ] = False,
    try_it: Annotated[
        bool, typer.Option("--try", help="Run two steps on synthetic data of the declared types.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help=_VERIFY),
    ] = False,
    data: Annotated[
        bool, typer.Option("--data", help="With `--verify`: use the first training samples of the file's data.")
    ] = False,
    ranks: Annotated[
        int | None,
        typer.Option(min=2, max=4096, metavar="N", help="Predict a training step on up to so many ranks of MPI."),
    ] = None,
    latency: Annotated[
        float | None, typer.Option(min=0, metavar="US", help="With `--ranks`: microseconds until a message arrives.")
    ] = None,
    bandwidth: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="GB", help="With `--ranks`: gigabytes per second that a rank receives."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    threads: options.Threads = None,
) -> None:
    """Check a file and its data, and print its values with their shapes, its parameters, and the FLOPs and memory of a
    training step. Files that are read outside of its folder are named.

    Example: netc check examples/mnist.net
    """
    from netc.commands.outside import OutsideData
    from netc.runtime.resolved import resolved_text

    if ranks is None:
        refuse_ranks("check without --ranks")
    network = network_of(latency, bandwidth)
    if launched_rank() > 0:  # it has helped to measure the network
        return
    outside = OutsideData(file)
    with outside.named():
        model, constants = options.load(file, settings, strict)
    if model.data is not None:
        outside.name_sources(model)
    if resolved:
        say_lines(resolved_text(model).removesuffix("\n"))
        return
    if data and not verify:
        raise typer.BadParameter("it only applies with --verify", param_hint="--data")
    if verify:
        with outside.named():
            report = verify_model(model, data, quietly=as_json)
        if as_json:
            say_lines(json_text(report, indent=2))
        raise typer.Exit(0 if report["ok"] else 1)
    with outside.named():
        of_data, dataset = _warnings(model, constants)
    options.warn(of_data, strict)
    warnings = [*model.warnings, *of_data]
    program, tried = _two_steps(model, threads) if try_it else (None, [])  # it leaves its plan in the cache
    facts = _facts(model, threads, dataset, program)
    if try_it:
        facts["tried"] = tried
    if ranks is not None:
        facts["ranks"] = facts_of_ranks(model, ranks, network)
    if as_json:
        facts["warnings"] = [
            {"code": warning.code, "title": warning.title, "line": warning.primary.span.line} for warning in warnings
        ]
        facts["outside"] = list(outside.paths)
        say_lines(json_text(facts, indent=2))
        return
    _print(model, facts)
    if ranks is not None:
        print_ranks(facts["ranks"])


def _warnings(model: "Model", constants: "dict[str, Any]") -> "tuple[list[Diagnostic], Dataset | None]":
    """The warnings about a file's data and its training, and the data. Raises Fault where one of them is wrong.

    Data that is not there is no fault of the file: a note on the error stream says that it was not checked.
    """
    from netc.runtime.data.dataset import load
    from netc.runtime.data.source_record import files_of
    from netc.runtime.data.spec import parse_data
    from netc.runtime.runs.start_from import check_start_from
    from netc.runtime.studies.check import check_study
    from netc.runtime.training.checks import check_parts, check_schedules, check_training

    check_start_from(model)
    if model.study is not None:
        check_study(model, constants)
    if model.data is not None:
        spec = parse_data(model)
        if spec.split.parts is not None:
            check_parts(model, spec.split.parts)
        sources = (spec.source, *(source for _, source in spec.split.sources))
        absent = [source.path for source in sources if not files_of(source, model.source.folder)]
        if not absent:
            dataset = load(model, spec)
            return [*dataset.warnings, *check_training(model, dataset)], dataset
        say(f"note: the data was not checked, because `{absent[0]}` is not there", is_error=True)
    return check_schedules(model), None


def _print(model: "Model", facts: dict[str, Any]) -> None:
    _print_values(facts)
    _print_parameters(facts)
    _print_windows(facts)
    for name, type_ in facts["results"].items():
        say(f"{name.replace('.', ' ', 1)}: {type_} a sample")
    _print_training(model, facts)
    if "tried" in facts:
        losses = " then ".join(number(loss) for loss in facts["tried"])
        say(f"two steps on synthetic data: loss {losses}")


def _print_values(facts: dict[str, Any]) -> None:
    rows = [(str(value["line"]), value["value"], value["type"]) for value in facts["values"]]
    table([("line", "value", "type"), *rows], right=(0,))
    say()


def _print_parameters(facts: dict[str, Any]) -> None:
    parameters = facts["parameters"]
    rows = [(parameter["name"], parameter["type"], f"{parameter['count']:,}") for parameter in parameters]
    count = sum(parameter["count"] for parameter in parameters)
    table([("parameter", "shape", "count"), *rows, ("all", "", f"{count:,}")], right=(2,))
    say()


def _print_windows(facts: dict[str, Any]) -> None:
    """Prints the convolutions and pools: kernel, stride, padding, receptive field, and parameters."""
    if not facts["windows"]:
        return
    heads = ("line", "window", "kernel", "stride", "pad", "gives", "sees", "weights", "a dense layer's")
    rows = [
        (
            str(window["line"]),
            window["operation"],
            *(" x ".join(map(str, window[name])) for name in ("kernel", "stride")),
            " ".join(map(str, window["pad"])),
            window["type"],
            window["sees"],
            f"{window['weights']:,}" if window["weights"] else "",
            f"{window['dense_weights']:,}" if window["weights"] else "",
        )
        for window in facts["windows"]
    ]
    table([heads, *rows], right=(0, 7, 8))
    say()


def _print_training(model: "Model", facts: dict[str, Any]) -> None:
    """Prints the settings of training, and what a step costs."""
    train, step = model.train, facts["step"]
    optimizer = train.optimizer.text(number)
    say(f"train: {optimizer}, batch {train.batch}, epochs {train.epochs}, seed {train.seed}, {train.precision}")
    if step:
        lengths = ", ".join(f"{dim} = {length}" for dim, length in step["lengths"].items())
        samples = f"{train.batch} samples" + (f" ({lengths})" if lengths else "")
        memory = f"{step['kept_bytes']:,} parameters and states, {step['arena_bytes']:,} arenas"
        say(f"a step of {samples}: {step['flops']:,} FLOPs, {step['bytes']:,} bytes ({memory})")


def _facts(model: "Model", threads: int | None, dataset: "Dataset | None", program: "Program | None") -> dict[str, Any]:
    """The facts about a model that `--json` prints: values, parameters, results, windows, and the cost of a step with
    the longest samples of the data.

    `program` is the model's, if there is one.
    """
    from netc.compiler.analysis.receptive import windowed
    from netc.compiler.ir.results import ResultKind
    from netc.compiler.ir.types import Type
    from netc.compiler.targets.named import machine_for
    from netc.runtime.execution.step_cost import cost_of_step, longest_of

    inner = (ResultKind.LENGTH, ResultKind.LOSS_WEIGHT, ResultKind.METRIC_WEIGHT, ResultKind.FITTED)
    step: dict[str, Any] = {}
    if model.graph.has(ResultKind.LOSS):
        longest = longest_of(model, dataset.parts["train"] if dataset is not None else None)
        graph = program.training_graph() if program is not None else None
        cost = cost_of_step(model, threads or machine_for().cores, longest=longest, training_graph=graph)
        step = {
            "lengths": longest,
            "flops": cost.flops,
            "bytes": cost.kept + cost.arenas,
            "kept_bytes": cost.kept,
            "arena_bytes": cost.arenas,
        }
    return {
        "values": [
            {
                "line": value.span.line,
                "value": value.name or value.operation,
                "type": str(value.type),
            }
            for value in model.graph.values()
            if value.role not in (Role.PARAMETER, Role.CONSTANT, Role.RANGE, Role.EXTENT)
        ],
        "parameters": [
            {"name": name, "type": str(type_), "count": type_.size(1)} for name, type_ in model.parameters.items()
        ],
        "results": {
            str(result): str(Type(value.type.dtype, value.type.sample, value.type.classes))
            for result, value in model.graph.results.items()
            if result.kind not in inner
        },
        "windows": [
            {
                "line": window.value.span.line,
                "operation": window.value.operation.removesuffix("2d"),
                "kernel": window.kernel,
                "stride": window.stride,
                "pad": window.pad,
                "type": str(window.value.type),
                "sees": str(window.sees) if window.sees else "",
                "weights": window.parameters,
                "dense_weights": window.dense,
            }
            for window in windowed(model.graph)
        ],
        "step": step,
    }


def _two_steps(model: "Model", threads: int | None) -> "tuple[Program, list[float]]":
    """A program of the model, and the losses of two training steps. Raises Fault E1002 if one is NaN or infinite."""
    import math

    from netc.compiler.ir.results import ResultKind
    from netc.dsl.diagnostics import fault
    from netc.runtime.available import NotEnough, refuse
    from netc.runtime.data.synthetic import synthetic_data
    from netc.runtime.program import Program
    from netc.runtime.settings import place_of_setting

    program = Program(model, threads=threads)
    try:
        fields = synthetic_data(model, model.train.batch * model.train.accumulate)
    except NotEnough as lack:
        refuse(lack, place_of_setting(model, "batch"))
    losses = [program.step(fields)["loss"] for _ in range(2)]
    if not all(math.isfinite(loss) for loss in losses):
        place = next(iter(model.graph.results_of(ResultKind.LOSS).values())).span
        fault("E1002", "the loss on synthetic data is not a number", place, f"{losses[0]:g}, then {losses[1]:g}")
    return program, losses
