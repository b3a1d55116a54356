"""Prints the facts of `netc check`: a row for each layer, windows, and what a training step costs."""

from typing import TYPE_CHECKING, Any

from netc.commands.quantities import number, rounded, share, size
from netc.commands.terminal import say, say_wrapped, table

if TYPE_CHECKING:
    from netc.compiler.model import Model


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
    work = sum(layer["flops"] or 0 for layer in layers)
    rows = [
        (
            str(layer["line"]),
            layer["layer"],
            layer["type"],
            "shared" if layer["is_shared"] and not layer["parameters"] else _count(layer["parameters"]),
            rounded(layer["flops"]) if layer["flops"] else "",
            share(layer["flops"] or 0, work),
        )
        for layer in layers
    ]
    count = sum(parameter["count"] for parameter in facts["parameters"])
    total = ("", "all", "", f"{count:,}", rounded(work), "")
    table([("line", "layer", "output", "parameters", "FLOPs", "share"), *rows, total], right=(0, 3, 4, 5))
    lengths = ", ".join(f"{dim} = {length}" for dim, length in facts["lengths"].items())
    say(f"FLOPs are those of one sample{f' ({lengths})' if lengths else ''}, forwards")
    say()


def _count(count: int) -> str:
    return f"{count:,}" if count else ""


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
    if step:
        lengths = ", ".join(f"{dim} = {length}" for dim, length in facts["lengths"].items())
        samples = f"{train.batch} samples" + (f" ({lengths})" if lengths else "")
        memory = f"{size(step['kept_bytes'])} parameters and states, {size(step['arena_bytes'])} intermediate values"
        say_wrapped(f"a step of {samples}: {rounded(step['flops'], 'FLOPs')}, {size(step['bytes'])} ({memory})")
