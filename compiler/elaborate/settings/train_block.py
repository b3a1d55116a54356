"""The `train` block: a table of settings, each with the function that reads its value.

Raises E0601 for an unknown setting, E0602 for a wrong value.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netc.compiler.elaborate.settings.optimizer import default_numbers, optimizer
from netc.compiler.elaborate.settings.readers import (
    above_zero,
    at_least_zero,
    call_of,
    entries_of,
    integer,
    one_of,
    truth,
)
from netc.compiler.ir.graph import Graph
from netc.compiler.model import (
    Average,
    Better,
    EarlyStop,
    Limit,
    Optimizer,
    Plateau,
    StartFrom,
    TrainSettings,
    Truncate,
)
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostics, Fault, Label, fault, nearest, nearest_or_all
from netc.dsl.hints import Change, Hint
from netc.dsl.mistakes.comments import explained
from netc.dsl.mistakes.synonyms import Kind

_MOST_SHARDS = 4096
_OF_UNIT_STEPS = ("adam", "adamw", "rmsprop", "adagrad")  # steps of about the length of the learning rate
_LARGE_RATE = 0.5
# whether higher is better, by the names of the library's losses and metrics
_HIGHER = {
    **dict.fromkeys(("loss", "mae", "rmse", "mse", "perplexity", "edit_distance"), False),
    **dict.fromkeys(("accuracy", "r2", "auc", "top_k"), True),
}


def train_settings(
    settings: Sequence[syntax.Setting],
    constant: Callable[[syntax.Expression], Any],
    schedule: Callable[[syntax.Expression], Graph],
    diagnostics: Diagnostics,
) -> TrainSettings:
    """The settings with defaults filled in. A fault of one is noted, and the others are read.

    `constant` returns the constant that an expression stands for, `schedule` the graph of a schedule.
    """
    values: dict[str, Any] = {"optimizer": Optimizer("adam", default_numbers("adam"))}
    names: dict[str, syntax.Name] = {}
    nodes: dict[str, syntax.Expression] = {}
    for setting in settings:
        name = setting.name.text
        try:
            _check_name(setting.name, names)
            names[name], nodes[name] = setting.name, setting.value
            if name not in SETTINGS and name not in MOVING:
                choices = [*SETTINGS, *MOVING]
                hint = nearest_or_all(name, choices, Kind.SETTING)
                fault("E0601", f"there is no setting `{name}`", setting.name.span, hint=hint)
            if name == "keep" and (call := call_of(setting.value, "average")) is not None:
                values["average"] = _average(call, constant)
            elif name == "schedule" and (call := call_of(setting.value, "plateau")) is not None:
                values["plateau"] = _plateau(call, constant)
            elif name in MOVING:
                values[name] = MOVING[name](setting.value, schedule)
            else:
                values[name] = SETTINGS[name](setting.value, constant)
        except Fault as error:
            diagnostics.note(explained(error, setting.value))
    if "optimizer" in names:
        _note_large_rate(values["optimizer"], nodes["optimizer"], diagnostics)
    if OPTIMIZERS[values["optimizer"].name].searches:
        _check_search(values, names, diagnostics)
    if values.get("accumulate", 1) > 1:
        _check_accumulation(values, names, diagnostics)
    return TrainSettings(**values)


def _note_large_rate(chosen: Optimizer, node: syntax.Expression, diagnostics: Diagnostics) -> None:
    """W0613 for a rate that is most likely another number, as in `adam(0.9, 0.999)`, where steps are of that length."""
    rate, arguments = chosen.numbers["lr"], node.arguments if isinstance(node, syntax.Call) else ()
    if chosen.name not in _OF_UNIT_STEPS or rate <= _LARGE_RATE:
        return
    title = f"`{chosen.name}` moves each parameter by about {rate:g} in a step"
    by_position = bool(arguments) and arguments[0].name is None
    is_alone = len(arguments) < 2
    hint = _with_small_rate(chosen, arguments, is_shifted=rate < 1)
    span = arguments[0].span if by_position else node.span
    label = "the first number is the learning rate `lr`" if by_position else "this is its learning rate"
    diagnostics.add("W0613", title, span, label, hint=Hint(hint, *([Change(hint, node.span)] if is_alone else [])))


def _with_small_rate(chosen: Optimizer, arguments: Sequence[syntax.Argument], is_shifted: bool) -> str:
    """The call with a usual rate, and its other arguments as they are.

    With `is_shifted`, several numbers without names are taken for a list of all but the rate, as other libraries have
    it: `adam(0.9, 0.999)` for `beta1` and `beta2`.
    """
    positional = [argument.span.text for argument in arguments if argument.name is None]
    named = {argument.name.span.text: argument.span.text for argument in arguments if argument.name is not None}
    named.pop("lr", None)
    names = [name for name in chosen.numbers if name != "lr"]
    is_list = is_shifted and len(positional) > 1 and named.keys().isdisjoint(names[: len(positional)])
    others = zip(names, positional if is_list else positional[1:], strict=False)
    texts = ["lr = 0.001", *(f"{name} = {text}" for name, text in others), *named.values()]
    return f"{chosen.name}({', '.join(texts)})"


def _check_search(values: dict[str, Any], names: Mapping[str, syntax.Name], diagnostics: Diagnostics) -> None:
    """Notes a fault E0602 for each setting that changes the steps of other optimizers, and resets it."""
    for name in ("accumulate", "schedule", "clip_norm", "clip_value", "lr_scale", "loss_scale", "truncate"):
        if name in names:
            message = f"`{values['optimizer'].name}` searches for the length of its steps: it takes no `{name}`"
            diagnostics.add("E0602", message, names[name].span, others=[Label(names["optimizer"].span, "set here")])
            values.pop("plateau" if name == "schedule" and "plateau" in values else name, None)
    if (average := values.get("average")) is not None and average.decay is not None:
        message = f"`{values['optimizer'].name}` tries parameters, and their mean over these steps says nothing"
        diagnostics.add("E0602", message, names["keep"].span, hint="keep = average(last = 5)")
        del values["average"]


def _check_accumulation(values: dict[str, Any], names: Mapping[str, syntax.Name], diagnostics: Diagnostics) -> None:
    """Notes a fault E0602 if a setting does not go with steps of several batches, which are then reset."""
    if "truncate" in values:
        span, message = names["truncate"].span, "`truncate` makes a step of each chunk"
    elif values["optimizer"].numbers.get("lazy"):
        span, message = names["optimizer"].span, "`lazy` updates the rows that a single batch looks up"
    else:
        return
    others = [Label(names["accumulate"].span, "a step of several batches")]
    diagnostics.add("E0602", message, span, others=others, hint="a larger batch")
    values["accumulate"] = 1


def _check_name(name: syntax.Name, earlier: Mapping[str, syntax.Name]) -> None:
    """Raises E0601 for a setting that an earlier line sets."""
    if name.text in earlier:
        others = [Label(earlier[name.text].span, "first here")]
        fault("E0601", f"`{name.text}` is set twice", name.span, others=others)


def _shards(node: syntax.Expression, constant: Any) -> int:
    """Reads a power of two, so that every power of two of ranks below it can share the shards."""
    value = integer(1)(node, constant)
    if value & (value - 1) or value > _MOST_SHARDS:
        power = min(1 << (value.bit_length() - 1), _MOST_SHARDS)
        message = f"this must be a power of two, at most {_MOST_SHARDS}"
        fault("E0602", message, node.span, f"it is {value}", hint=Hint.assignment("shards", power))
    return value


def better(node: syntax.Expression) -> Better:
    """Reads `valid.loss`; or `max(valid.name)` or `min(valid.name)`, as a metric of another name needs."""
    way = node.function.text if isinstance(node, syntax.Call) and isinstance(node.function, syntax.Name) else ""
    inner = node.arguments[0].value if isinstance(node, syntax.Call) and len(node.arguments) == 1 else node
    if (
        way not in ("", "max", "min")
        or not isinstance(inner, syntax.Attribute)
        or not isinstance(inner.value, syntax.Name)
        or inner.value.text not in ("train", "valid")
    ):
        if isinstance(inner, syntax.Attribute) and isinstance(inner.value, syntax.Name) and inner.value.text == "test":
            note = "a choice by its metrics would make them too good"
            fault(
                "E0602", "the test part decides nothing in training", node.span, note, hint=f"valid.{inner.name.text}"
            )
        fault("E0602", "this must be a metric of an epoch", node.span, hint="valid.loss")
    name = inner.name.text
    if not way and name not in _HIGHER:
        fault(
            "E0602",
            f"which way is better for `{name}` is not known",
            node.span,
            hint=nearest(name, _HIGHER) or f"max({inner.span.text}) or min({inner.span.text})",
        )
    return Better(f"{inner.value.text}.{name}", way == "max" if way else _HIGHER[name], node.span)


def _early_stop(node: syntax.Expression, constant: Any) -> EarlyStop:
    """Reads `(metric = valid.loss, patience = 5)`."""
    entries = node.entries if isinstance(node, syntax.Tuple) else ()
    values = entries_of(entries, ("metric", "patience", "margin"), "`early_stop`", node.span)
    if "metric" not in values:
        fault("E0602", "`early_stop` names its metric", node.span, hint="(metric = valid.loss, patience = 5)")
    patience = integer(1)(values["patience"], constant) if "patience" in values else 5
    margin = at_least_zero(values["margin"], constant) if "margin" in values else 0.0
    return EarlyStop(better(values["metric"]), patience, margin)


def _plateau(node: syntax.Call, constant: Any) -> Plateau:
    """Reads `plateau(patience = 10, factor = 0.1, metric = valid.loss, margin = 0.0001)`."""
    values = entries_of(node.arguments, ("patience", "factor", "metric", "margin"), "`plateau`", node.span)
    patience = integer(1)(values["patience"], constant) if "patience" in values else 10
    factor = above_zero(values["factor"], constant) if "factor" in values else 0.1
    if factor >= 1:
        fault("E0602", "`factor` must be below 1", values["factor"].span)
    watched = better(values["metric"]) if "metric" in values else Better("valid.loss", False, node.span)
    margin = at_least_zero(values["margin"], constant) if "margin" in values else 1e-4
    return Plateau(watched, patience, factor, margin)


def _keep(node: syntax.Expression, constant: Any) -> Better:
    """Reads `best(valid.loss)`."""
    call = call_of(node, "best")
    if call is None or len(call.arguments) != 1:
        fault("E0602", "`keep` says what is best", node.span, hint="best(valid.loss), or average(0.999)")
    return better(call.arguments[0].value)


def _average(node: syntax.Call, constant: Any) -> Average:
    """Reads `average(0.999)` or `average(last = 5)`."""
    example = "average(0.999), or average(last = 5)"
    values = entries_of(node.arguments, ("decay", "last"), "`average`", node.span)
    if len(values) != 1:
        fault("E0602", "`average` takes the weight of earlier steps, or a number of epochs", node.span, hint=example)
    if "last" in values:
        return Average(None, integer(1)(values["last"], constant))
    decay = constant(values["decay"])
    if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 < decay < 1:
        fault("E0602", "the weight of earlier steps is above 0 and below 1", values["decay"].span, hint=example)
    return Average(float(decay), None)


def _patterns(node: syntax.Expression, constant: Any) -> tuple[str, ...]:
    """Reads `"features.*"`, or a list of such patterns."""
    value = constant(node)
    patterns = value if isinstance(value, tuple) else (value,)
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        fault("E0602", "this must be a pattern of parameter names in quotes", node.span, hint='"features.*"')
    return patterns


def _lr_scale(node: syntax.Expression, constant: Any) -> tuple[tuple[str, float], ...]:
    """Reads `("features.*" = 0.1)`."""
    entries = node.entries if isinstance(node, syntax.Tuple) else ()
    if not entries or not all(isinstance(entry.name, syntax.Text) for entry in entries):
        fault("E0602", "`lr_scale` gives patterns a factor each", node.span, hint='("features.*" = 0.1)')
    return tuple(
        (entry.name.value, above_zero(entry.value, constant))
        for entry in entries
        if isinstance(entry.name, syntax.Text)
    )


def _loss_scale(
    node: syntax.Expression, schedule: Callable[[syntax.Expression], Graph]
) -> tuple[tuple[str, Graph], ...]:
    """Reads `(kl = minimum(1, epoch / 5))`."""
    entries = node.entries if isinstance(node, syntax.Tuple) else ()
    graphs: dict[str, Graph] = {}
    for entry in entries:
        if not isinstance(entry.name, syntax.Name) or entry.name.text in graphs:
            break
        graphs[entry.name.text] = schedule(entry.value)
    if not entries or len(graphs) < len(entries):
        fault(
            "E0602", "`loss_scale` gives losses a factor each, by name", node.span, hint="(kl = minimum(1, epoch / 5))"
        )
    return tuple(graphs.items())


def _start_from(node: syntax.Expression, constant: Any) -> StartFrom:
    """Reads `"runs/other"`, or `("runs/other", only = "features.*")`."""
    entries = node.entries if isinstance(node, syntax.Tuple) else (syntax.Argument(node.span, None, node),)
    values = entries_of(entries, ("run", "only"), "`start_from`", node.span)
    path = constant(values["run"]) if "run" in values else None
    if not isinstance(path, str):
        fault("E0602", "`start_from` names the folder of a run in quotes", node.span, hint='"runs/other"')
    return StartFrom(path, _patterns(values["only"], constant) if "only" in values else (), node.span)


def _truncate(node: syntax.Expression, constant: Any) -> Truncate:
    """Reads `(time = 100)`."""
    entries = node.entries if isinstance(node, syntax.Tuple) else ()
    if len(entries) != 1 or not isinstance(entries[0].name, syntax.Name):
        message = "`truncate` gives the number of steps of a dimension's chunks"
        fault("E0602", message, node.span, hint="truncate = (time = 100)")
    return Truncate(entries[0].name.text, integer(1)(entries[0].value, constant), node.span)


def _memory(node: syntax.Expression, constant: Any) -> Limit:
    """Reads `"2 GB"`."""
    value = constant(node)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)B\s*", value) if isinstance(value, str) else None
    if match is None or not float(match[1]):
        fault("E0602", "`memory` is a number of bytes in quotes", node.span, hint='memory = "2 GB"')
    return Limit(int(float(match[1]) * 1000 ** " kMGT".index(match[2] or " ")), node.span)


SETTINGS: dict[str, Callable[[syntax.Expression, Any], Any]] = {
    "optimizer": optimizer,
    "batch": integer(1),
    "epochs": integer(1),
    "seed": integer(0),
    "precision": one_of("f32", "f64", "bf16"),
    "shuffle": truth,
    "accumulate": integer(1),
    "shards": _shards,
    "clip_norm": above_zero,
    "clip_value": above_zero,
    "freeze": _patterns,
    "lr_scale": _lr_scale,
    "early_stop": _early_stop,
    "keep": _keep,
    "start_from": _start_from,
    "truncate": _truncate,
    "memory": _memory,
}

# settings that change while training: expressions from which the graph of a schedule is made
MOVING: dict[str, Callable[[syntax.Expression, Callable[[syntax.Expression], Graph]], Any]] = {
    "schedule": lambda node, schedule: schedule(node),
    "loss_scale": _loss_scale,
}
