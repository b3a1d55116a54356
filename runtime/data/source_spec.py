"""Checks the source of a `data` block: `csv("data/cars.csv")` becomes a SourceSpec."""

from collections.abc import Callable, Mapping
from typing import Any

from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest, nearest_or_all
from netc.dsl.synonyms import Kind
from netc.runtime.data.constant_values import call_of, constant_value
from netc.runtime.data.declarations import Constants, SourceSpec
from netc.runtime.data.readers import READERS


def parse_source(node: syntax.Expression, constants: Constants) -> SourceSpec:
    """A source as written. Faults E0701 for an unknown reader, E0301 to E0303 for arguments that it does not take."""
    name, arguments = call_of(node)
    if name not in READERS:
        fact = f"there is no reader `{name or node.span.text}`"
        fault("E0701", fact, node.span, hint=nearest_or_all(name, READERS, Kind.READER))
    paths = [argument for argument in arguments if argument.name is None]
    if len(paths) != 1 or not isinstance(path := constant_value(paths[0].value, constants), str):
        fault("E0301", f"`{name}` takes one path in quotes", node.span, hint=f'{name}("data/...")')
    allowed = _IMAGE_OPTIONS if name == "images" else {}
    options = {}
    for argument in arguments:
        if argument.name is not None:
            key = argument.name.text if isinstance(argument.name, syntax.Name) else ""
            if key not in allowed:
                fault(
                    "E0302",
                    f"`{name}` has no argument `{key}`",
                    argument.span,
                    hint=nearest(key, allowed, Kind.ARGUMENT),
                )
            options[key] = allowed[key](argument.value, constants)
    return SourceSpec(name, path, paths[0].span, tuple(options.items()))


def _size(node: syntax.Expression, constants: Constants) -> tuple[int, int]:
    entries = [entry.value for entry in node.entries] if isinstance(node, syntax.Tuple) else []
    numbers = [constant_value(entry, constants) for entry in entries]
    if len(numbers) != 2 or not all(isinstance(number, int) and number >= 1 for number in numbers):
        fault("E0303", "`size` is the height and the width in pixels", node.span, hint="size = (32, 32)")
    return numbers[0], numbers[1]


def _channels(node: syntax.Expression, constants: Constants) -> int:
    number = constant_value(node, constants)
    if number not in (1, 3):
        fault("E0303", "`channels` is 1 (grey) or 3 (red, green, blue)", node.span)
    return int(number)


def _broken(node: syntax.Expression, constants: Constants) -> str:
    if not isinstance(node, syntax.Name) or node.text not in ("skip", "refuse"):
        fault("E0303", "`broken` is skip or refuse", node.span)
    return node.text


_IMAGE_OPTIONS: Mapping[str, Callable[[syntax.Expression, Constants], Any]] = {
    "size": _size,
    "channels": _channels,
    "broken": _broken,
}
