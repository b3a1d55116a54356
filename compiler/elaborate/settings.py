"""The `train` block: a table of settings, each with what it takes. Faults E0601 for an unknown one, E0602 for a wrong value."""

from collections.abc import Callable, Sequence
from typing import Any

from netc.compiler.model import Optimizer, TrainSettings
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostics, Fault, Label, fault, nearest

INITIALISERS = {
    "zeros": 0,
    "ones": 0,
    "constant": 1,
    "normal": 1,
    "uniform": 2,
    "glorot_uniform": 0,
    "glorot_normal": 0,
    "he_uniform": 0,
    "he_normal": 0,
    "orthogonal": 0,
}

# What PyTorch documents under the same names; None must be given.
OPTIMIZERS: dict[str, dict[str, float | None]] = {
    "sgd": {"lr": None, "momentum": 0.0},
    "adam": {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
}
_LATER = (
    "schedule",
    "clip_norm",
    "clip_value",
    "early_stop",
    "keep",
    "accumulate",
    "truncate",
    "memory",
    "freeze",
    "lr_scale",
    "start_from",
)
_LATER_OPTIMIZERS = ("adamw", "rmsprop", "adagrad")


def train_settings(
    settings: Sequence[syntax.Setting], constant: Callable[[syntax.Expression], Any], diagnostics: Diagnostics
) -> TrainSettings:
    """The settings with defaults filled in; what is wrong with one is noted and the others go on."""
    found: dict[str, Any] = {"optimizer": Optimizer("adam", _defaults("adam"))}
    places: dict[str, syntax.Setting] = {}
    for setting in settings:
        name = setting.name.text
        try:
            if name in places:
                fault(
                    "E0601",
                    f"`{name}` is set twice",
                    setting.name.span,
                    others=[Label(places[name].name.span, "first here")],
                )
            places[name] = setting
            if name in _LATER:
                fault("E0901", f"`{name}` does not run yet", setting.name.span, "a later version of netc brings it")
            if name not in _SETTINGS:
                fault(
                    "E0601",
                    f"there is no setting `{name}`",
                    setting.name.span,
                    hint=nearest(name, [*_SETTINGS, *_LATER]) or f"one of {', '.join(_SETTINGS)}",
                )
            found[name] = _SETTINGS[name](setting.value, constant)
        except Fault as wrong:
            diagnostics.note(wrong)
    return TrainSettings(**found)


def _defaults(name: str) -> dict[str, float]:
    return {key: value for key, value in OPTIMIZERS[name].items() if value is not None}


def _whole(least: int) -> Callable[[syntax.Expression, Any], int]:
    def read(node: syntax.Expression, constant: Any) -> int:
        value = constant(node)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            fault("E0602", f"this must be a whole number, at least {least}", node.span, f"it is {value}")
        return value

    return read


def _word(*words: str) -> Callable[[syntax.Expression, Any], str]:
    def read(node: syntax.Expression, constant: Any) -> str:
        if not isinstance(node, syntax.Name) or node.text not in words:
            fault("E0602", f"this must be {' or '.join(words)}", node.span, hint=nearest(node.span.text, words))
        return node.text

    return read


def _truth(node: syntax.Expression, constant: Any) -> bool:
    value = constant(node)
    if not isinstance(value, bool):
        fault("E0602", "this must be true or false", node.span)
    return value


def _optimizer(node: syntax.Expression, constant: Any) -> Optimizer:
    function = node.function if isinstance(node, syntax.Call) else node
    arguments = node.arguments if isinstance(node, syntax.Call) else ()
    name = function.text if isinstance(function, syntax.Name) else ""
    if name in _LATER_OPTIMIZERS:
        fault(
            "E0901",
            f"`{name}` does not run yet",
            function.span,
            "a later version of netc brings it",
            hint="adam(lr = 1e-3)",
        )
    if name not in OPTIMIZERS:
        fault(
            "E0602",
            f"there is no optimizer `{name or function.span.text}`",
            function.span,
            hint=nearest(name, OPTIMIZERS) or f"one of {', '.join(OPTIMIZERS)}",
        )
    keys, numbers = OPTIMIZERS[name], _defaults(name)
    given: set[str] = set()
    for position, argument in enumerate(arguments):
        key = (
            argument.name.text
            if isinstance(argument.name, syntax.Name)
            else list(keys)[position]
            if position < len(keys) and argument.name is None
            else ""
        )
        if key not in keys or key in given:
            fault(
                "E0302",
                f"`{name}` has no argument `{key or argument.span.text}`"
                if key not in keys
                else f"`{key}` is given twice",
                argument.span,
                hint=nearest(key, keys),
            )
        given.add(key)
        value = constant(argument.value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            fault("E0602", f"`{key}` must be a number", argument.value.span)
        if (key in ("lr", "eps") and value <= 0) or (key in ("momentum", "beta1", "beta2") and not 0 <= value < 1):
            fault(
                "E0602",
                f"`{key}` is out of range",
                argument.value.span,
                "it must be above 0" if key in ("lr", "eps") else "it must be at least 0 and below 1",
            )
        numbers[key] = float(value)
    for key, default in keys.items():
        if default is None and key not in given:
            fault("E0301", f"`{name}` lacks its argument `{key}`", node.span, hint=f"{name}({key} = 0.1)")
    return Optimizer(name, numbers)


_SETTINGS: dict[str, Callable[[syntax.Expression, Any], Any]] = {
    "optimizer": _optimizer,
    "batch": _whole(1),
    "epochs": _whole(1),
    "seed": _whole(0),
    "precision": _word("f32", "f64"),
    "shuffle": _truth,
}
