"""The source of a `data` block, `csv("data/cars.csv")`, checked."""

from collections.abc import Callable
from typing import Any

from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest, nearest_or_all
from netc.runtime.data.declarations import Constants, SourceSpec
from netc.runtime.data.literals import call_of, plain
from netc.runtime.data.readers import READERS


def parse_source(node: syntax.Expression, constants: Constants) -> SourceSpec:
    name, arguments = call_of(node)
    if name not in READERS:
        fault(
            "E0701",
            f"there is no reader `{name or node.span.text}`",
            node.span,
            hint=nearest_or_all(name, READERS),
        )
    paths = [argument for argument in arguments if argument.name is None]
    if len(paths) != 1 or not isinstance(path := plain(paths[0].value, constants), str):
        fault("E0301", f"`{name}` takes one path in quotes", node.span, hint=f'{name}("data/...")')
    options = {}
    for argument in arguments:
        if argument.name is not None:
            key = argument.name.text if isinstance(argument.name, syntax.Name) else ""
            if name != "images" or key not in _IMAGE_OPTIONS:
                known = _IMAGE_OPTIONS if name == "images" else ()
                fault("E0302", f"`{name}` has no argument `{key}`", argument.span, hint=nearest(key, known))
            options[key] = _IMAGE_OPTIONS[key](argument.value, constants)
    return SourceSpec(name, path, paths[0].span, tuple(options.items()))


def _size(node: syntax.Expression, constants: Constants) -> tuple[int, int]:
    entries = [entry.value for entry in node.entries] if isinstance(node, syntax.Tuple) else []
    numbers = [plain(entry, constants) for entry in entries]
    if len(numbers) != 2 or not all(isinstance(one, int) and one >= 1 for one in numbers):
        fault("E0303", "`size` is the height and the width in pixels", node.span, hint="size = (32, 32)")
    return numbers[0], numbers[1]


def _channels(node: syntax.Expression, constants: Constants) -> int:
    number = plain(node, constants)
    if number not in (1, 3):
        fault("E0303", "`channels` is 1 (grey) or 3 (red, green, blue)", node.span)
    return int(number)


def _broken(node: syntax.Expression, constants: Constants) -> str:
    if not isinstance(node, syntax.Name) or node.text not in ("skip", "refuse"):
        fault("E0303", "`broken` is skip or refuse", node.span)
    return node.text


_IMAGE_OPTIONS: dict[str, Callable[[syntax.Expression, Constants], Any]] = {
    "size": _size,
    "channels": _channels,
    "broken": _broken,
}
