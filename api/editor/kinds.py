"""Semantic tokens: the kind of each name of a text, which an editor colours. Words and numbers are left to its own
grammar."""

from collections.abc import Iterator

from msgspec import Struct

from netc.dsl import syntax
from netc.dsl.node import Node, children
from netc.dsl.source import Span
from netc.editor.analysis import Analysis
from netc.editor.meaning import KINDS_IN, reference, section_at

TYPES = ("namespace", "typeParameter", "parameter", "variable", "property", "function")
MODIFIERS = ("declaration", "readonly", "defaultLibrary")
_OF_SYMBOLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "import": ("namespace", ()),
    "dimension": ("typeParameter", ()),
    "argument": ("parameter", ()),
    "let": ("variable", ("readonly",)),
    "block": ("function", ()),
    "op": ("function", ()),
    "layer": ("function", ()),
    "param": ("property", ()),
    "state": ("property", ()),
}


class Token(Struct, frozen=True):
    """A name, its type, one of TYPES, and its modifiers, of MODIFIERS."""

    span: Span
    type: str
    modifiers: tuple[str, ...] = ()


def tokens(analysis: Analysis) -> list[Token]:
    """The names of a text, each span once, in the order of the text."""
    at: dict[int, Token] = {}
    for token in (*_symbols(analysis), *_written(analysis), *_library(analysis)):
        at.setdefault(token.span.start, token)
    return [at[start] for start in sorted(at)]


def _symbols(analysis: Analysis) -> Iterator[Token]:
    for symbol in analysis.names.symbols:
        type_, modifiers = _OF_SYMBOLS.get(symbol.kind, ("variable", ()))
        for span in symbol.definitions:
            yield Token(span, type_, ("declaration", *modifiers))
        for span in symbol.uses:
            yield Token(span, type_, modifiers)


def _written(analysis: Analysis) -> Iterator[Token]:
    """The names of settings and of arguments."""
    pending: list[Node] = list(analysis.file.items) if analysis.file is not None else []
    while pending:
        node = pending.pop()
        if isinstance(node, syntax.Setting | syntax.StudySetting):
            yield Token(node.name.span, "property")
        elif isinstance(node, syntax.Argument) and isinstance(node.name, syntax.Name):
            yield Token(node.name.span, "parameter")
        pending += children(node)


def _library(analysis: Analysis) -> Iterator[Token]:
    """The names that netc defines: operations, layers, losses, data steps."""
    for name in analysis.names.others:
        kinds = KINDS_IN[section_at(analysis, name.span.start)]
        if any(entry.kind in kinds for entry in reference().get(name.text, ())):
            yield Token(name.span, "function", ("defaultLibrary",))
