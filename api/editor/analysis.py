"""Analyses one text for an editor: its messages, its names, and the type and cost of each value.

A text with errors is analysed as far as possible.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from netc.compiler.cost import flops_of
from netc.compiler.elaborate.bindings import Assigned
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.elaborator import examine, model_of
from netc.compiler.elaborate.library import library_places
from netc.compiler.ir.types import describe_sample
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault, fault
from netc.dsl.files import real
from netc.dsl.parser import parse, parse_file
from netc.dsl.printer import print_file
from netc.dsl.quoting import markdown_block, markdown_code, markdown_text
from netc.dsl.source import Source, Span
from netc.editor.names import Names, Symbol, names_of
from netc.reference import KINDS, Entry, entries
from netc.runtime.data.access import inside, is_below
from netc.runtime.data.classes import class_counter
from netc.runtime.data.spec import parse_data

_IDENTIFIER = re.compile(r"[^\W\d]\w*")


NOT_OPENED = "E0807"  # not an error in the text: an editor shows it as information


def _changed(path: Path) -> int | None:
    """The time of a file's last change; None if it does not exist, or no file can have this name."""
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return None


class Counts:
    """Counts the classes of a field in the data, again only if the `data` block or a file changes.

    Opens only files below the text's own folder or one of `folders`, and no file unless `opens_data`.
    """

    def __init__(self, folders: Sequence[Path] = (), opens_data: bool = True) -> None:
        self.folders, self.opens_data = tuple(folders), opens_data
        self.cache: dict[tuple[Any, ...], int] = {}

    def counter(self, file: syntax.File) -> Any:
        count = class_counter(file)
        block = next((item.span.text for item in file.items if isinstance(item, syntax.Data)), "")
        folders = self._folders(file.source)
        paths = [file.source.folder / match for match in re.findall(r'"([^"\n]+)"', block)]
        times = tuple(_changed(path) for path in paths if is_below(path, folders))

        def counted(name: str, lets: Mapping[str, Any], seed: int, asked: Span) -> int:
            key = (file.source.folder, folders, block, name, repr(sorted(lets.items())), seed, times)
            if key not in self.cache:
                if len(self.cache) > 100:
                    self.cache.clear()
                with inside(folders, self._refuse):
                    self.cache[key] = count(name, lets, seed, asked)
            return self.cache[key]

        return counted

    def _folders(self, source: Source) -> tuple[Path, ...]:
        """The folders where data may be opened. A text that is in no file has no folder of its own."""
        if not self.opens_data:
            return ()
        return (source.folder, *self.folders) if source.path is not None else self.folders

    def _refuse(self, path: Path, shown: str, span: Span) -> None:
        fault(
            NOT_OPENED,
            f"the editor does not open `{shown}`, and cannot count its classes",
            span,
            "it lies outside of this file's folder and of the workspace"
            if self.opens_data
            else "no data is opened in a workspace that is not trusted",
            hint="`class(10)` for `class(auto)`"
            + (", or its folder as a folder of the workspace, or `netc lsp --allow FOLDER`" if self.opens_data else ""),
        )


class Analysis:
    """One version of a text. Each part is computed when it is first used; names do not need values.

    `file` is None if the text does not follow the grammar. `assigned` has what could be elaborated despite errors.
    """

    def __init__(self, text: str, path: Path | None, counts: Counts) -> None:
        self.source, self.counts = Source(path.name if path else "model.net", text, path), counts

    @cached_property
    def _parsed(self) -> tuple[syntax.File | None, tuple[Diagnostic, ...]]:
        try:
            return parse(self.source), ()
        except Fault as error:
            return None, error.diagnostics

    @property
    def file(self) -> syntax.File | None:
        return self._parsed[0]

    @cached_property
    def names(self) -> Names:
        return names_of(self.file) if self.file is not None else Names()

    @cached_property
    def _examined(self) -> tuple[Context | None, tuple[Diagnostic, ...]]:
        if self.file is None:
            return None, self._parsed[1]
        if _is_library(self.file):
            return None, ()
        try:
            context, train = examine(self.file, {}, self.counts.counter(self.file))
        except Fault as error:
            return None, error.diagnostics
        wrong = [*context.diagnostics.errors, *context.diagnostics.warnings]
        if not context.diagnostics.errors:
            try:
                model = model_of(self.file, context, train)
                if model.data is not None:
                    parse_data(model)
            except Fault as error:
                wrong += error.diagnostics
        return context, tuple(wrong)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Errors and warnings."""
        return self._examined[1]

    @cached_property
    def assigned(self) -> dict[Span, tuple[Assigned, ...]]:
        """The values assigned to each name, by the name's span: several in a block that is applied several times."""
        by_span: dict[Span, list[Assigned]] = {}
        context = self._examined[0]
        for assigned in context.assigned if context is not None else ():
            by_span.setdefault(assigned.span, []).append(assigned)
        return {span: tuple(values) for span, values in by_span.items()}

    @property
    def parameters(self) -> dict[str, int]:
        """The number of elements of each parameter."""
        context = self._examined[0]
        return {name: info.type.size(1) for name, info in context.parameters.items()} if context is not None else {}


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of the text: `text` replaces the characters of `span`."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """A fix for a message that an editor offers."""

    title: str
    edit: Edit
    diagnostic: Diagnostic


def _is_library(file: syntax.File) -> bool:
    """Whether a file is only for import: it has items, but neither a model nor settings."""
    kinds = (syntax.Block, syntax.Op, syntax.Let, syntax.Layer, syntax.Import)
    return bool(file.items) and all(isinstance(item, kinds) for item in file.items)


# ------------------------------------------------------------------ the meaning of a name


@cache
def reference() -> dict[str, tuple[Entry, ...]]:
    """The entries of the reference by name."""
    by_name: dict[str, tuple[Entry, ...]] = {}
    for entry in entries():
        by_name[entry.name] = (*by_name.get(entry.name, ()), entry)
    return by_name


def hover(analysis: Analysis, offset: int, before: Analysis | None = None) -> tuple[str, Span] | None:
    """Describes the name at an offset, as Markdown, and returns the name's span.

    `before` is an earlier version of the text, which is used while the text does not parse.
    """
    match = analysis.names.at(offset)
    if match is not None:
        return _symbol_text(analysis, *match), match[1]
    word = analysis.names.other_at(offset) or _word_at(analysis, offset)
    if word is None:
        return None
    if analysis.file is None and before is not None:
        for symbol in before.names.symbols:
            if symbol.name == word.text:
                return _symbol_text(before, symbol, symbol.definitions[-1]), word.span
    kinds = KINDS_IN[section_at(analysis, offset)]
    matches = [entry for entry in reference().get(word.text, ()) if entry.kind in kinds]
    return ("\n\n---\n\n".join(map(entry_text, matches)), word.span) if matches else None


# the kinds of names that each block of a file can use
KINDS_IN = {
    "data": ("reader", "data step", "augmentation"),
    "train": ("optimizer", "schedule"),
    "": tuple(
        kind for kind in KINDS if kind not in ("reader", "data step", "augmentation", "optimizer", "schedule", "pass")
    ),
}


def section_at(analysis: Analysis, offset: int) -> str:
    """`data` or `train` inside of such a block, else the empty string."""
    for item in analysis.file.items if analysis.file is not None else ():
        if isinstance(item, syntax.Data | syntax.Train) and item.span.start <= offset <= item.span.end:
            return "data" if isinstance(item, syntax.Data) else "train"
    return ""


def entry_text(entry: Entry) -> str:
    """An entry of the reference as Markdown."""
    parts = [markdown_block(entry.signature, "net"), f"*{entry.kind}*: {entry.doc}", *entry.details]
    return "\n\n".join(parts)


def _word_at(analysis: Analysis, offset: int) -> syntax.Name | None:
    """The identifier at an offset, such as a setting or a step of the data; None in a comment."""
    line = analysis.source.text[:offset].rpartition("\n")[2]
    if "#" in re.sub(r'"[^"]*"?', "", line):
        return None
    for match in _IDENTIFIER.finditer(analysis.source.text):
        if match.start() <= offset <= match.end():
            return syntax.Name(Span(analysis.source, match.start(), match.end()), match[0])
    return None


def _symbol_text(analysis: Analysis, symbol: Symbol, place: Span) -> str:
    """Describes a symbol that is used or defined at `place`, as Markdown."""
    definition = symbol.defined_at(place) if place not in symbol.definitions else place
    if isinstance(symbol.node, syntax.Block | syntax.Op):
        head = symbol.node.span.text.partition("{" if isinstance(symbol.node, syntax.Block) else "=")[0].rstrip()
        comment = markdown_text(symbol.node.span.comment_before)
        return f"{markdown_block(head, 'net')}\n\n*{symbol.kind}* of this file. {comment}".rstrip()
    if (
        symbol.kind in ("let", "loss", "layer", "argument")
        and symbol.node is not None
        and definition not in analysis.assigned
    ):
        return f"{markdown_block(symbol.node.span.text, 'net')}\n\n*{symbol.kind}*"
    assigned = analysis.assigned.get(definition, ())
    types = list(dict.fromkeys(describe_sample(assignment.value.type) for assignment in assigned))
    if not types:
        return f"{markdown_code(symbol.name)}: *{symbol.kind}*"
    lines = [markdown_block(f"{symbol.name}: {', '.join(types)}", "net"), f"*{symbol.kind}*"]
    costs = _costs(analysis, assigned[-1])
    return "\n\n".join([*lines, costs] if costs else lines)


def _costs(analysis: Analysis, assigned: Assigned) -> str:
    """The parameters that were created with a name, and the FLOPs for a sample or for a step of a sequence."""
    parts = []
    if assigned.parameters:
        count = sum(analysis.parameters[name] for name in assigned.parameters)
        names = [markdown_code(name) for name in assigned.parameters[:4]]
        names += ["..."] if len(assigned.parameters) > 4 else []
        parts.append(f"{count:,} parameters: {', '.join(names)}")
    values = assigned.value.graph.values()  # type: ignore[attr-defined]
    work = sum(flops_of(value, 1) for value in values if assigned.first <= value.number < assigned.end)
    if work:
        parts.append(f"{work:,} FLOPs a {'step' if assigned.value.type.is_varying else 'sample'}")
    return "  \n".join(parts)


# ------------------------------------------------------------------ definitions and uses


def definitions(analysis: Analysis, offset: int) -> list[Span]:
    """The spans where the name at an offset is defined: in this text, in a file that it imports, or in the library."""
    match = analysis.names.at(offset)
    if match is not None:
        symbol, place = match
        if isinstance(symbol.node, syntax.Import):
            return list(_imported(symbol.node).values())[:1] or [symbol.node.span]
        return [symbol.defined_at(place) if place not in symbol.definitions else place]
    other = analysis.names.other_at(offset) or _word_at(analysis, offset)
    if other is None or analysis.file is None:
        return []
    for item in analysis.file.items:
        if isinstance(item, syntax.Import) and other.text in (places := _imported(item)):
            return [places[other.text]]
    of_library = library_places().get(other.text)
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


def places(analysis: Analysis, offset: int) -> list[Span]:
    """All spans of the name at an offset."""
    match = analysis.names.at(offset)
    return sorted(match[0].places, key=lambda span: span.start) if match else []


def rename(analysis: Analysis, offset: int, name: str) -> list[Edit] | str:
    """The edits that rename the name at an offset, or the reason why it cannot be renamed."""
    match = analysis.names.at(offset)
    if match is None:
        return "only names of this file can be renamed"
    if not _IDENTIFIER.fullmatch(name):
        return f"`{name}` is not a name"
    symbol = match[0]
    taken = {visible.name for visible in analysis.names.visible_at(symbol.places[0].start)} - {symbol.name}
    if name in taken:
        return f"`{name}` already exists"
    try:
        parse(Source("", f"let {name} = 0\n"))
    except Fault:
        return f"`{name}` is a word of the language"
    return [Edit(span, name) for span in dict.fromkeys(symbol.places)]


# ------------------------------------------------------------------ formatting, fixes, outline


def formatted(analysis: Analysis) -> str | None:
    """The text as `netc fmt` writes it; None if it does not follow the grammar."""
    return print_file(analysis.file) if analysis.file is not None else None


def actions(analysis: Analysis, diagnostic: Diagnostic) -> list[Action]:
    """The fixes for a message: a name that its hint suggests, text to add, a comment to silence a warning."""
    offers: list[Action] = []
    span = diagnostic.primary.span
    if span.source is not analysis.source:
        return []
    hint = diagnostic.hint or ""
    offered = re.findall(r"`(\w+)`", hint) if hint.startswith("did you mean") else []
    if hint.startswith("one of "):
        offered = [name for name in hint.removeprefix("one of ").split(", ") if _IDENTIFIER.fullmatch(name)][:8]
    wrong = _wrong_name(diagnostic)
    if wrong is not None:
        for name in offered:
            offers.append(Action(f"`{name}` in place of `{wrong.text}`", Edit(wrong, name), diagnostic))
    offers += _pasted(analysis, diagnostic, hint)
    if not diagnostic.is_error:
        line = analysis.source.line(span.line)
        start = span.start - span.column + 1
        end = Span(span.source, start + len(line.rstrip()), start + len(line))
        before = re.search(r"#\s*allow:", line)
        text = f", {diagnostic.code}" if before else f"  # allow: {diagnostic.code}"
        offers.append(Action(f"allow {diagnostic.code} here", Edit(end, text), diagnostic))
    return offers


def _pasted(analysis: Analysis, diagnostic: Diagnostic, hint: str) -> Iterator[Action]:
    """Fixes from hints that are text to insert: `-> standardize`, `dense(units)` for `dense`, a bracket at the end."""
    span = diagnostic.primary.span
    if hint.startswith("-> "):
        yield Action(f"add `{hint}`", Edit(Span(span.source, span.end, span.end), f" {hint}"), diagnostic)
    elif span.text.isidentifier() and hint.startswith(f"{span.text}("):
        yield Action(f"`{hint}`", Edit(span, hint), diagnostic)
    elif (bracket := re.fullmatch(r"add `([)\]}])`", hint)) is not None:
        text = analysis.source.text
        end = Span(analysis.source, len(text.rstrip()), len(text))
        yield Action(hint, Edit(end, ("\n" if bracket[1] == "}" else "") + bracket[1] + "\n"), diagnostic)


def _wrong_name(diagnostic: Diagnostic) -> Span | None:
    """The span of the name that a message is about: a name that its title quotes, within the message's location."""
    span = diagnostic.primary.span
    for quoted in re.findall(r"`(\w+)`", diagnostic.title):
        at = re.search(rf"\b{re.escape(quoted)}\b", span.text)
        if at is not None:
            return Span(span.source, span.start + at.start(), span.start + at.end())
    return span if _IDENTIFIER.fullmatch(span.text) else None


def outline(analysis: Analysis) -> list[tuple[str, str, Span, Span]]:
    """Each definition of the file, in order: its name and kind, the span of the statement and the span of the name."""
    if analysis.file is None:
        return []
    rows = []
    for symbol in analysis.names.symbols:
        if symbol.node is not None and symbol.kind not in ("argument", "dimension", "counter", "step", "carry"):
            rows += [(symbol.name, symbol.kind, symbol.node.span, symbol.definitions[0])]
    return sorted(rows, key=lambda row: row[3].start)
