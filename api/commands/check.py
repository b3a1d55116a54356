"""`netc check M.net`: what a file means, without training: values with shapes, parameters, work and memory of a step."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from netc.commands import options
from netc.commands.terminal import number, say, say_lines, table
from netc.commands.verification import verify_model
from netc.compiler.ir.roles import Role
from netc.dsl.quoting import json_text

if TYPE_CHECKING:
    from netc.compiler.model import Model


def check(
    file: options.ModelFile,
    settings: options.Settings = None,
    plugins: options.Plugins = None,
    strict: options.Strict = False,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print the file with every default filled in, and nothing else.")
    ] = False,
    try_it: Annotated[bool, typer.Option("--try", help="Run two steps on made-up data of the declared types.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compute everything in several ways that must agree, on synthetic samples: before and after each pass, interpreted and compiled, derivatives by finite differences. What a bug report should contain. Exit status 1 if something differs.",
        ),
    ] = False,
    data: Annotated[
        bool, typer.Option("--data", help="With `--verify`: on the first training samples of the file's data.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    threads: options.Threads = None,
) -> None:
    """Check a file and print every value with its shape, the parameters, the work and the exact memory of a training step; data outside of its folder are named.

    Example: netc check examples/mnist.net
    """
    from netc.commands.outside import OutsideData
    from netc.runtime.resolved import resolved_text
    from netc.runtime.step import longest_of

    outside = OutsideData(file)
    with outside.named():
        model, _ = options.load(file, settings, strict)
    if model.data is not None:
        outside.name_sources(model)
    if resolved:
        say_lines(resolved_text(model).removesuffix("\n"))
        return
    if data and not verify:
        raise typer.BadParameter("it says on which samples --verify works", param_hint="--data")
    if verify:
        with outside.named():
            verified = verify_model(model, data, quietly=as_json)
        if as_json:
            say_lines(json_text(verified, indent=2))
        raise typer.Exit(0 if verified["ok"] else 1)
    found = _facts(model, threads)
    if try_it:
        found["tried"] = _two_steps(model, threads)
    if as_json:
        found["warnings"] = [
            {"code": one.code, "title": one.title, "line": one.primary.span.line} for one in model.warnings
        ]
        found["outside"] = list(outside.paths)
        say_lines(json_text(found, indent=2))
        return
    rows = [("line", "value", "type"), *((str(one["line"]), one["value"], one["type"]) for one in found["values"])]
    table(rows, right=(0,))
    say()
    rows = [(one["name"], one["type"], f"{one['count']:,}") for one in found["parameters"]]
    count = sum(one["count"] for one in found["parameters"])
    table([("parameter", "shape", "count"), *rows, ("all", "", f"{count:,}")], right=(2,))
    say()
    if found["windows"]:
        heads = ("line", "window", "kernel", "stride", "pad", "gives", "sees", "weights", "a dense layer's")
        rows = [
            (
                str(one["line"]),
                one["operation"],
                *(" x ".join(map(str, one[name])) for name in ("kernel", "stride")),
                " ".join(map(str, one["pad"])),
                one["type"],
                one["sees"],
                f"{one['weights']:,}" if one["weights"] else "",
                f"{one['dense_weights']:,}" if one["weights"] else "",
            )
            for one in found["windows"]
        ]
        table([heads, *rows], right=(0, 7, 8))
        say()
    for name, type_ in found["results"].items():
        say(f"{name.replace('.', ' ', 1)}: {type_} a sample")
    train = model.train
    numbers = ", ".join(f"{key} = {number(value)}" for key, value in train.optimizer.numbers.items())
    say(
        f"train: {train.optimizer.name}({numbers}), batch {train.batch}, epochs {train.epochs}, seed {train.seed}, {train.precision}"
    )
    step = found["step"]
    lengths = longest_of(model)
    of_steps = f" ({', '.join(f'{dim} = {length}' for dim, length in lengths.items())})" if lengths else ""
    if step:
        say(
            f"a step of {train.batch} samples{of_steps}: {step['flops']:,} FLOPs, {step['bytes']:,} bytes ({step['kept_bytes']:,} parameters and states, {step['arena_bytes']:,} arenas)"
        )
    if try_it:
        losses = " then ".join(number(loss) for loss in found["tried"])
        say(f"two steps on made-up data: loss {losses}")


def _facts(model: "Model", threads: int | None) -> dict[str, Any]:
    from netc.compiler.ir.types import Type
    from netc.compiler.kernels.targets import machine_for
    from netc.compiler.model import FITTED
    from netc.compiler.receptive import windowed
    from netc.runtime.step import cost_of_step

    step: dict[str, Any] = {}
    if any(name.startswith("loss.") for name in model.graph.results):
        cost = cost_of_step(model, threads or machine_for().cores)
        step = {
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
            name: str(Type(value.type.dtype, value.type.sample, value.type.classes))
            for name, value in model.graph.results.items()
            if not name.startswith(("length.", "weight.", FITTED))
        },
        "windows": [
            {
                "line": one.value.span.line,
                "operation": one.value.operation.removesuffix("2d"),
                "kernel": one.kernel,
                "stride": one.stride,
                "pad": one.pad,
                "type": str(one.value.type),
                "sees": str(one.sees) if one.sees else "",
                "weights": one.parameters,
                "dense_weights": one.dense,
            }
            for one in windowed(model.graph)
        ],
        "step": step,
    }


def _two_steps(model: "Model", threads: int | None) -> list[float]:
    """The loss of two training steps. Faults E1002 if it is no number."""
    import math

    from netc.dsl.diagnostics import fault
    from netc.runtime.available import NotEnough, refuse
    from netc.runtime.data.madeup import made_up
    from netc.runtime.program import Program
    from netc.runtime.settings import place_of_setting

    program = Program(model, threads=threads)
    try:
        fields = made_up(model, model.train.batch * model.train.accumulate)
    except NotEnough as lack:
        refuse(lack, place_of_setting(model, "batch"))
    losses = [program.step(fields)["loss"] for _ in range(2)]
    if not all(math.isfinite(loss) for loss in losses):
        place = next(value.span for name, value in model.graph.results.items() if name.startswith("loss."))
        fault("E1002", "the loss of made-up data is no number", place, f"{losses[0]:g}, then {losses[1]:g}")
    return losses
