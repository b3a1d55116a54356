"""The definitions and uses of the names of a text: go to definition, references, renaming, outline."""

from importlib import resources
from pathlib import Path

from netc.compiler.elaborate.library import library_spans
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault
from netc.dsl.hints import Edit
from netc.dsl.parser import parse, parse_file
from netc.dsl.source import Source, Span
from netc.dsl.storage.files import real
from netc.editor.analysis import Analysis
from netc.editor.meaning import IDENTIFIER, word_at
from netc.runtime.data.access import is_below


def definitions(analysis: Analysis, offset: int) -> list[Span]:
    """The spans where the name at an offset is defined: in this text, in a file that it imports, or in the library."""
    match = analysis.names.at(offset)
    if match is not None:
        symbol, span = match
        if isinstance(symbol.node, syntax.Import):
            return list(_imported(symbol.node).values())[:1] or [symbol.node.span]
        return [symbol.defined_at(span) if span not in symbol.definitions else span]
    other = analysis.names.other_at(offset) or word_at(analysis, offset)
    if other is None or analysis.file is None:
        return []
    for item in analysis.file.items:
        if isinstance(item, syntax.Import) and other.text in (imported := _imported(item)):
            return [imported[other.text]]
    of_library = library_spans().get(other.text)
    return [_on_disk(of_library)] if of_library is not None else []


def _imported(item: syntax.Import) -> dict[str, Span]:
    """The names that an imported file defines, with their spans; none if the file must not be imported."""
    path = real(item.span.source.folder / item.path.value)
    if path.suffix != ".net" or not is_below(path, [item.span.source.folder]):
        return {}
    try:
        items = parse_file(path).items
    except Fault:
        return {}
    names = [getattr(definition, "name", None) for definition in items]
    return {name.text: name.span for name in names if isinstance(name, syntax.Name)}


def _on_disk(span: Span) -> Span:
    """A span of the library in its file of this installation."""
    name = span.source.name.removeprefix("netc/")
    path = Path(str(resources.files("netc.dsl.library").joinpath(name)))
    return Span(Source(span.source.name, span.source.text, path, is_library=True), span.start, span.end)


def occurrences(analysis: Analysis, offset: int) -> list[Span]:
    """All spans of the name at an offset."""
    match = analysis.names.at(offset)
    return sorted(match[0].spans, key=lambda span: span.start) if match else []


def rename(analysis: Analysis, offset: int, name: str) -> list[Edit] | str:
    """The edits that rename the name at an offset, or the reason why it cannot be renamed."""
    match = analysis.names.at(offset)
    if match is None:
        return "only names of this file can be renamed"
    if not IDENTIFIER.fullmatch(name):
        return f"`{name}` is not a name"
    symbol = match[0]
    taken = {visible.name for visible in analysis.names.visible_at(symbol.spans[0].start)} - {symbol.name}
    if name in taken:
        return f"`{name}` already exists"
    try:
        parse(Source("", f"let {name} = 0\n"))
    except Fault:
        return f"`{name}` is a word of the language"
    return [Edit(span, name) for span in dict.fromkeys(symbol.spans)]


def outline(analysis: Analysis) -> list[tuple[str, str, Span, Span]]:
    """Each definition of the file, in order: its name and kind, the span of the statement and the span of the name."""
    if analysis.file is None:
        return []
    rows = []
    for symbol in analysis.names.symbols:
        if symbol.node is not None and symbol.kind not in ("argument", "dimension", "counter", "step", "carry"):
            rows += [(symbol.name, symbol.kind, symbol.node.span, symbol.definitions[0])]
    return sorted(rows, key=lambda row: row[3].start)
