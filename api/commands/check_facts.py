"""The facts of `netc check`, as `--json` prints them and as tables: layers, windows, the cost of a training step."""

from typing import TYPE_CHECKING, Any

from netc.commands.layer_rows import HEADS, RIGHT, layer_facts, layer_rows, work_of
from netc.commands.quantities import number, rounded, size
from netc.commands.terminal import say, say_wrapped, table
from netc.compiler.ir.roles import Role
from netc.dsl.plural import counted

if TYPE_CHECKING:
    from netc.compiler.model import Model
    from netc.runtime.data.dataset import Dataset
    from netc.runtime.program import Program

_UNLISTED = (Role.PARAMETER, Role.CONSTANT, Role.RANGE, Role.EXTENT)  # roles of values that are not part of a listing


def facts_of(
    model: "Model", threads: int | None, dataset: "Dataset | None", program: "Program | None"
) -> dict[str, Any]:
    """The facts about a model that `--json` prints: layers, values, parameters, results, windows, and the cost of a
    step with the longest samples of the data.

    `program` is the model's, if there is one.
    """
    from netc.compiler.analysis.layers import layers_of
    from netc.compiler.ir.results import ResultKind
    from netc.compiler.ir.types import Type
    from netc.runtime.execution.step_cost import longest_of

    inner = (ResultKind.LENGTH, ResultKind.LOSS_WEIGHT, ResultKind.METRIC_WEIGHT, ResultKind.FITTED)
    longest = longest_of(model, dataset.parts["train"] if dataset is not None else None)
    return {
        "layers": layer_facts(layers_of(model, longest)),
        "lengths": longest,
        "values": [
            {"line": value.span.line, "value": value.name or value.operation, "type": str(value.type)}
            for value in model.graph.values()
            if value.role not in _UNLISTED
        ],
        "parameters": [
            {"name": name, "type": str(type_), "count": type_.size(1)} for name, type_ in model.parameters.items()
        ],
        "results": {
            str(result): str(Type(value.type.dtype, value.type.sample, value.type.classes))
            for result, value in model.graph.results.items()
            if result.kind not in inner
        },
        "windows": _window_facts(model),
        "step": _step_facts(model, threads, longest, program),
    }


def _window_facts(model: "Model") -> list[dict[str, Any]]:
    """Convolutions and pools, with their receptive fields and the weights of a dense layer in their place."""
    from netc.compiler.analysis.receptive import windowed

    return [
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
    ]


def _step_facts(
    model: "Model", threads: int | None, longest: dict[str, int], program: "Program | None"
) -> dict[str, Any]:
    """The FLOPs and the bytes of a training step; empty for a model without a loss."""
    from netc.compiler.ir.results import ResultKind
    from netc.compiler.targets.named import machine_for
    from netc.runtime.execution.step_cost import cost_of_step

    if not model.graph.has(ResultKind.LOSS):
        return {}
    graph = program.training_graph() if program is not None else None
    cost = cost_of_step(model, threads or machine_for().cores, longest=longest, training_graph=graph)
    return {
        "lengths": longest,
        "flops": cost.flops,
        "bytes": cost.kept + cost.arenas,
        "kept_bytes": cost.kept,
        "arena_bytes": cost.arenas,
    }


def print_facts(model: "Model", facts: dict[str, Any], with_values: bool) -> None:
    """Prints the facts, with every value of the graph and every parameter if asked."""
    _print_layers(facts)
    if with_values:
        _print_values(facts)
        _print_parameters(facts)
    _print_windows(facts)
    _print_training(model, facts)
    if "tried" in facts:
        losses = " then ".join(number(loss) for loss in facts["tried"])
        say(f"two steps on synthetic data: loss {losses}")


def _print_layers(facts: dict[str, Any]) -> None:
    """Prints a row for each layer, with the sums."""
    layers = facts["layers"]
    count = sum(parameter["count"] for parameter in facts["parameters"])
    total = ("", "all", "", f"{count:,}", rounded(work_of(layers)), "")
    table([HEADS, *layer_rows(layers), total], right=RIGHT)
    lengths = ", ".join(f"{dim} = {length}" for dim, length in facts["lengths"].items())
    say(f"FLOPs are those of one sample{f' ({lengths})' if lengths else ''}, forwards")
    say()


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
    heads = ("line", "window", "kernel", "stride", "pad", "sees", "weights", "a dense layer's")
    rows = [
        (
            str(window["line"]),
            window["operation"],
            *(" x ".join(map(str, window[name])) for name in ("kernel", "stride")),
            " ".join(map(str, window["pad"] if len({*window["pad"]}) > 1 else window["pad"][:1])),
            window["sees"],
            f"{window['weights']:,}" if window["weights"] else "",
            f"{window['dense_weights']:,}" if window["weights"] else "",
        )
        for window in facts["windows"]
    ]
    table([heads, *rows], right=(0, 6, 7))
    say()


def _print_training(model: "Model", facts: dict[str, Any]) -> None:
    """Prints the settings of training, and what a step costs."""
    train, step = model.train, facts["step"]
    optimizer = train.optimizer.text(number)
    say(f"train: batch {train.batch}, epochs {train.epochs}, seed {train.seed}, {train.precision}")
    say_wrapped(f"optimizer: {optimizer}")
    if not step:
        say("note: there is no `loss`, such as `loss mse(prediction, target)`, so `netc train` cannot train this model")
    else:
        lengths = ", ".join(f"{dim} = {length}" for dim, length in facts["lengths"].items())
        samples = counted(train.batch, "sample") + (f" ({lengths})" if lengths else "")
        memory = f"{size(step['kept_bytes'])} parameters and states, {size(step['arena_bytes'])} intermediate values"
        say_wrapped(f"a step of {samples}: {rounded(step['flops'], 'FLOPs')}, {size(step['bytes'])} ({memory})")
