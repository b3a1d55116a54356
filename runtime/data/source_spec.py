"""Checks the source of a `data` block: `csv("data/cars.csv", delimiter = ";")` becomes a SourceSpec."""

from collections.abc import Mapping
from typing import Any

from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest, nearest_or_all
from netc.dsl.source import Span
from netc.dsl.synonyms import Kind
from netc.runtime.data.constant_values import call_of, constant_value
from netc.runtime.data.declarations import Constants, SourceSpec
from netc.runtime.data.reader_options import OPTIONS
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
    allowed = OPTIONS.get(name, {})
    options: dict[str, Any] = {}
    for argument in arguments:
        if argument.name is not None:
            key = argument.name.text if isinstance(argument.name, syntax.Name) else ""
            if key not in allowed:
                hint = nearest(key, allowed, Kind.ARGUMENT) or (f"one of {', '.join(allowed)}" if allowed else None)
                fault("E0302", f"`{name}` has no argument `{key}`", argument.span, hint=hint)
            if key in options:
                fault("E0601", f"`{key}` is set twice", argument.span)
            options[key] = allowed[key].parse(argument.value, constants)
    _refuse_same_characters(options, node.span)
    return SourceSpec(name, path, paths[0].span, tuple(options.items()))


_CHARACTERS = ("delimiter", "decimal", "thousands", "quote", "comment")


def _refuse_same_characters(options: Mapping[str, Any], span: Span) -> None:
    """Faults E0303 if two options of a csv are the same character. Only cells in quotes may contain the delimiter."""
    seen: dict[str, str] = {}
    for name in _CHARACTERS:
        character = options.get(name)
        if not character or {name, seen.get(character)} in ({"delimiter", "decimal"}, {"delimiter", "thousands"}):
            continue
        if character in seen:
            fault("E0303", f"`{seen[character]}` and `{name}` are the same character", span)
        seen[character] = name
