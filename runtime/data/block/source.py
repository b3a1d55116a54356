"""Checks the source of a `data` block: `csv("data/cars.csv", delimiter = ";")` becomes a SourceSpec."""

from collections.abc import Mapping
from typing import Any, NoReturn

from netc.dsl import syntax
from netc.dsl.chains import last_word
from netc.dsl.diagnostics import fault, nearest, nearest_or_all
from netc.dsl.mistakes.synonyms import Kind
from netc.dsl.source import Span
from netc.runtime.data.block.constant_values import call_of, constant_value
from netc.runtime.data.block.declarations import Constants, SourceSpec
from netc.runtime.data.readers.options import OPTIONS
from netc.runtime.data.readers.readers import READERS
from netc.runtime.data.readers.sql import SCHEMES


def parse_source(node: syntax.Expression, constants: Constants) -> SourceSpec:
    """A source as written. Raises E0701 for an unknown reader, E0301 to E0303 for arguments that it does not take."""
    name, arguments = call_of(node)
    if name not in READERS:
        _refuse_reader(name, node)
    positional = [argument for argument in arguments if argument.name is None]
    texts = [constant_value(argument.value, constants) for argument in positional]
    options: dict[str, Any] = {}
    if name == "sql":
        path, options = _query(texts, node.span)
    else:
        if not texts or not all(isinstance(text, str) for text in texts):
            fault("E0301", f"`{name}` takes a path in quotes", node.span, hint=f'{name}("data/...")')
        path = texts[0]
    allowed = OPTIONS.get(name, {})
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
    others = tuple(texts[1:]) if name != "sql" else ()
    return SourceSpec(name, path, positional[0].span, tuple(options.items()), others)


def _refuse_reader(name: str, node: syntax.Expression) -> NoReturn:
    """Raises E0701 for anything that is not a reader: a path by itself, or a function of another library."""
    path = node.value if isinstance(node, syntax.Text) else ""
    if path:
        kind = next((reader for ending, reader in _ENDINGS.items() if path.lower().endswith(ending)), "csv")
        fault("E0701", "a source says how it is read", node.span, hint=f'source = {kind}("{path}")')
    function = node.function if isinstance(node, syntax.Call) else node
    word = last_word(function)
    fact = f"there is no reader `{function.span.text}`"
    fault("E0701", fact, node.span, hint=nearest_or_all(word or name, READERS, Kind.READER))


_ENDINGS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".json": "json",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".xlsx": "xlsx",
    ".npz": "npz",
    ".txt": "text",
}


def _query(texts: list[Any], span: Span) -> tuple[str, dict[str, Any]]:
    """The path of a database, and the options that say how it is read. Raises E0301 and E0303."""
    hint = 'sql("sqlite:///shop.db", "select ... from ...")'
    if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
        fault("E0301", "`sql` takes a database and a query in quotes", span, hint=hint)
    url, query = texts
    scheme = next((scheme for scheme in SCHEMES if url.startswith(scheme)), None)
    if scheme is None or not url.removeprefix(scheme):
        schemes = " or ".join(f"`{scheme}PATH`" for scheme in SCHEMES)
        fault("E0303", f"a database is named by {schemes}", span, hint=hint)
    return url.removeprefix(scheme), {"engine": SCHEMES[scheme], "query": query}


_CHARACTERS = ("delimiter", "decimal", "thousands", "quote", "comment")


def _refuse_same_characters(options: Mapping[str, Any], span: Span) -> None:
    """Raises E0303 if two options of a csv are the same character. Only cells in quotes may contain the delimiter."""
    seen: dict[str, str] = {}
    for name in _CHARACTERS:
        character = options.get(name)
        if not character or {name, seen.get(character)} in ({"delimiter", "decimal"}, {"delimiter", "thousands"}):
            continue
        if character in seen:
            fault("E0303", f"`{seen[character]}` and `{name}` are the same character", span)
        seen[character] = name
