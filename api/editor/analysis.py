"""All that is known of one text: its faults, its names, what each comes to. The text may be wrong anywhere; what is left of it is known all the same."""

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


NOT_OPENED = "E0807"  # no error of the text: an editor shows it as information


def _changed(path: Path) -> int | None:
    """When a file was changed last; None if there is none, or no file can have this name."""
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return None


class Counts:
    """How many classes the data says that a field has, read once while neither the `data` block nor the files change.

    Opens what lies below a text's own folder or one of `folders`, and nothing else; nothing at all unless `opens_data`.
    """

    def __init__(self, folders: Sequence[Path] = (), opens_data: bool = True) -> None:
        self.folders, self.opens_data = tuple(folders), opens_data
        self.known: dict[tuple[Any, ...], int | Fault] = {}

    def counter(self, file: syntax.File) -> Any:
        count = class_counter(file)
        block = next((item.span.text for item in file.items if isinstance(item, syntax.Data)), "")
        folders = self._folders(file.source)
        paths = [file.source.folder / found for found in re.findall(r'"([^"\n]+)"', block)]
        times = tuple(_changed(path) for path in paths if is_below(path, folders))

        def counted(name: str, lets: Mapping[str, Any], seed: int, asked: Span) -> int:
            key = (file.source.folder, folders, block, name, repr(sorted(lets.items())), seed, times)
            if key not in self.known:
                if len(self.known) > 100:
                    self.known.clear()
                with inside(folders, self._refuse):
                    self.known[key] = count(name, lets, seed, asked)
            found = self.known[key]
            assert isinstance(found, int)
            return found

        return counted

    def _folders(self, source: Source) -> tuple[Path, ...]:
        """Where the data of a text may lie; of one that is in no file, not just anywhere that the server was started in."""
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
            else "in a workspace that is not trusted no data is opened",
            hint="`class(10)` for `class(auto)`"
            + (", or its folder as a folder of the workspace, or `netc lsp --allow FOLDER`" if self.opens_data else ""),
        )


class Analysis:
    """One version of a text. Each part is found out when it is first asked for: names without what they come to.

    `file` is None where the grammar does not take the text; `assigned` is what is known of it all the same where something else is wrong.
    """

    def __init__(self, text: str, path: Path | None, counts: Counts) -> None:
        self.source, self.counts = Source(path.name if path else "model.net", text, path), counts

    @cached_property
    def _parsed(self) -> tuple[syntax.File | None, tuple[Diagnostic, ...]]:
        try:
            return parse(self.source), ()
        except Fault as found:
            return None, found.diagnostics

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
        except Fault as found:
            return None, found.diagnostics
        wrong = [*context.diagnostics.errors, *context.diagnostics.warnings]
        if not context.diagnostics.errors:
            try:
                model = model_of(self.file, context, train)
                if model.data is not None:
                    parse_data(model)
            except Fault as found:
                wrong += found.diagnostics
        return context, tuple(wrong)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What is wrong, and the warnings."""
        return self._examined[1]

    @cached_property
    def assigned(self) -> dict[Span, tuple[Assigned, ...]]:
        """What each name that is given a meaning came to, by its place; in a block that is applied several times, several."""
        found: dict[Span, list[Assigned]] = {}
        context = self._examined[0]
        for one in context.assigned if context is not None else ():
            found.setdefault(one.span, []).append(one)
        return {span: tuple(several) for span, several in found.items()}

    @property
    def parameters(self) -> dict[str, int]:
        """How many numbers each parameter has."""
        context = self._examined[0]
        return {name: info.type.size(1) for name, info in context.parameters.items()} if context is not None else {}


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of the text: what stands at a place becomes something else."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """Something that an editor offers to do about a message."""

    title: str
    edit: Edit
    diagnostic: Diagnostic


def _is_library(file: syntax.File) -> bool:
    """Whether a file is there to be imported: blocks and operations alone."""
    kinds = (syntax.Block, syntax.Op, syntax.Let, syntax.Layer, syntax.Import)
    return bool(file.items) and all(isinstance(item, kinds) for item in file.items)


# ------------------------------------------------------------------ what a name is


@cache
def reference() -> dict[str, tuple[Entry, ...]]:
    """The entries of the reference by name."""
    found: dict[str, tuple[Entry, ...]] = {}
    for one in entries():
        found[one.name] = (*found.get(one.name, ()), one)
    return found


def hover(known: Analysis, offset: int, before: Analysis | None = None) -> tuple[str, Span] | None:
    """What is to be told of the name at an offset, as Markdown. While the text does not parse, names mean what they meant `before`."""
    found = known.names.at(offset)
    if found is not None:
        return _of_symbol(known, *found), found[1]
    word = known.names.other_at(offset) or _word_at(known, offset)
    if word is None:
        return None
    if known.file is None and before is not None:
        for symbol in before.names.symbols:
            if symbol.name == word.text:
                return _of_symbol(before, symbol, symbol.definitions[-1]), word.span
    kinds = KINDS_IN[section_at(known, offset)]
    found_there = [one for one in reference().get(word.text, ()) if one.kind in kinds]
    return ("\n\n---\n\n".join(map(told, found_there)), word.span) if found_there else None


# what a name of netc may be in each block of a file
KINDS_IN = {
    "data": ("reader", "data step", "augmentation"),
    "train": ("optimizer", "schedule"),
    "": tuple(
        kind for kind in KINDS if kind not in ("reader", "data step", "augmentation", "optimizer", "schedule", "pass")
    ),
}


def section_at(known: Analysis, offset: int) -> str:
    """`data` or `train` inside of such a block, else nothing."""
    for item in known.file.items if known.file is not None else ():
        if isinstance(item, syntax.Data | syntax.Train) and item.span.start <= offset <= item.span.end:
            return "data" if isinstance(item, syntax.Data) else "train"
    return ""


def told(one: Entry) -> str:
    """An entry of the reference as Markdown."""
    parts = [markdown_block(one.signature, "net"), f"*{one.kind}*: {one.doc}", *one.details]
    return "\n\n".join(parts)


def _word_at(known: Analysis, offset: int) -> syntax.Name | None:
    """The identifier at an offset, whatever it is: a setting, a step of the data; none in a comment."""
    line = known.source.text[:offset].rpartition("\n")[2]
    if "#" in re.sub(r'"[^"]*"?', "", line):
        return None
    for found in _IDENTIFIER.finditer(known.source.text):
        if found.start() <= offset <= found.end():
            return syntax.Name(Span(known.source, found.start(), found.end()), found[0])
    return None


def _of_symbol(known: Analysis, symbol: Symbol, place: Span) -> str:
    definition = symbol.defined_at(place) if place not in symbol.definitions else place
    if isinstance(symbol.node, syntax.Block | syntax.Op):
        head = symbol.node.span.text.partition("{" if isinstance(symbol.node, syntax.Block) else "=")[0].rstrip()
        said = markdown_text(symbol.node.span.comment_before)
        return f"{markdown_block(head, 'net')}\n\n*{symbol.kind}* of this file. {said}".rstrip()
    if (
        symbol.kind in ("let", "loss", "layer", "argument")
        and symbol.node is not None
        and definition not in known.assigned
    ):
        return f"{markdown_block(symbol.node.span.text, 'net')}\n\n*{symbol.kind}*"
    made = known.assigned.get(definition, ())
    types = list(dict.fromkeys(describe_sample(one.value.type) for one in made))
    if not types:
        return f"{markdown_code(symbol.name)}: *{symbol.kind}*"
    lines = [markdown_block(f"{symbol.name}: {', '.join(types)}", "net"), f"*{symbol.kind}*"]
    costs = _costs(known, made[-1])
    return "\n\n".join([*lines, costs] if costs else lines)


def _costs(known: Analysis, one: Assigned) -> str:
    """The parameters that came with a name, and the work for a sample, or for a step of one."""
    parts = []
    if one.parameters:
        count = sum(known.parameters[name] for name in one.parameters)
        listed = ", ".join(map(markdown_code, one.parameters[:4])) + (", ..." if len(one.parameters) > 4 else "")
        parts.append(f"{count:,} parameters: {listed}")
    graph = one.value.graph
    values = [value for value in graph.values() if one.first <= value.number < one.end]  # type: ignore[attr-defined]
    work = sum(flops_of(value, 1) for value in values)
    if work:
        parts.append(f"{work:,} FLOPs a {'step' if one.value.type.is_varying else 'sample'}")
    return "  \n".join(parts)


# ------------------------------------------------------------------ where it is from, and where else


def definitions(known: Analysis, offset: int) -> list[Span]:
    """Where the name at an offset is defined: in this text, in one that it imports, in netc's library."""
    found = known.names.at(offset)
    if found is not None:
        symbol, place = found
        if isinstance(symbol.node, syntax.Import):
            return list(_imported(symbol.node).values())[:1] or [symbol.node.span]
        return [symbol.defined_at(place) if place not in symbol.definitions else place]
    other = known.names.other_at(offset) or _word_at(known, offset)
    if other is None or known.file is None:
        return []
    for item in known.file.items:
        if isinstance(item, syntax.Import) and other.text in (places := _imported(item)):
            return [places[other.text]]
    of_library = library_places().get(other.text)
    return [_on_disk(of_library)] if of_library is not None else []


def _imported(item: syntax.Import) -> dict[str, Span]:
    """What a file that is imported defines; nothing if it may not be (import_file)."""
    path = real(item.span.source.folder / item.path.value)
    if path.suffix != ".net" or not is_below(path, [item.span.source.folder]):
        return {}
    try:
        items = parse_file(path).items
    except Fault:
        return {}
    names = [getattr(one, "name", None) for one in items]
    return {name.text: name.span for name in names if isinstance(name, syntax.Name)}


def _on_disk(span: Span) -> Span:
    """A place in the library, in the file that netc came with."""
    name = span.source.name.removeprefix("netc/")
    path = Path(str(resources.files("netc.dsl.library").joinpath(name)))
    return Span(Source(span.source.name, span.source.text, path, is_library=True), span.start, span.end)


def places(known: Analysis, offset: int) -> list[Span]:
    """All places of the name at an offset."""
    found = known.names.at(offset)
    return sorted(found[0].places, key=lambda one: one.start) if found else []


def rename(known: Analysis, offset: int, name: str) -> list[Edit] | str:
    """The edits that give the name at an offset another one; or why there are none."""
    found = known.names.at(offset)
    if found is None:
        return "only names of this file can be given another one"
    if not _IDENTIFIER.fullmatch(name):
        return f"`{name}` is no name"
    symbol = found[0]
    taken = {one.name for one in known.names.visible_at(symbol.places[0].start)} - {symbol.name}
    if name in taken:
        return f"there is a `{name}` already"
    try:
        parse(Source("", f"let {name} = 0\n"))
    except Fault:
        return f"`{name}` is a word of the language"
    return [Edit(span, name) for span in dict.fromkeys(symbol.places)]


# ------------------------------------------------------------------ what an editor does to it


def formatted(known: Analysis) -> str | None:
    """The text as `netc fmt` has it; None where it does not follow the grammar."""
    return print_file(known.file) if known.file is not None else None


def actions(known: Analysis, diagnostic: Diagnostic) -> list[Action]:
    """What can be done about a message: the names that its hint offers in place of a wrong one, what it says to add, and for a warning its silence."""
    found: list[Action] = []
    span = diagnostic.primary.span
    if span.source is not known.source:
        return []
    hint = diagnostic.hint or ""
    offered = re.findall(r"`(\w+)`", hint) if hint.startswith("did you mean") else []
    if hint.startswith("one of "):
        offered = [one for one in hint.removeprefix("one of ").split(", ") if _IDENTIFIER.fullmatch(one)][:8]
    wrong = _wrong_name(diagnostic)
    for name in offered if wrong is not None else ():
        assert wrong is not None
        found.append(Action(f"`{name}` in place of `{wrong.text}`", Edit(wrong, name), diagnostic))
    found += _pasted(known, diagnostic, hint)
    if not diagnostic.is_error:
        line = known.source.line(span.line)
        start = span.start - span.column + 1
        end = Span(span.source, start + len(line.rstrip()), start + len(line))
        before = re.search(r"#\s*allow:", line)
        text = f", {diagnostic.code}" if before else f"  # allow: {diagnostic.code}"
        found.append(Action(f"allow {diagnostic.code} here", Edit(end, text), diagnostic))
    return found


def _pasted(known: Analysis, diagnostic: Diagnostic, hint: str) -> Iterator[Action]:
    """Hints that are text to be put in: `-> standardize` behind the place, `dense(units)` for `dense`, a bracket at the end."""
    span = diagnostic.primary.span
    if hint.startswith("-> "):
        yield Action(f"add `{hint}`", Edit(Span(span.source, span.end, span.end), f" {hint}"), diagnostic)
    elif span.text.isidentifier() and hint.startswith(f"{span.text}("):
        yield Action(f"`{hint}`", Edit(span, hint), diagnostic)
    elif (bracket := re.fullmatch(r"add `([)\]}])`", hint)) is not None:
        text = known.source.text
        end = Span(known.source, len(text.rstrip()), len(text))
        yield Action(hint, Edit(end, ("\n" if bracket[1] == "}" else "") + bracket[1] + "\n"), diagnostic)


def _wrong_name(diagnostic: Diagnostic) -> Span | None:
    """The name that a message is about: what its title quotes, at or in the place that it points to."""
    span = diagnostic.primary.span
    for quoted in re.findall(r"`(\w+)`", diagnostic.title):
        at = re.search(rf"\b{re.escape(quoted)}\b", span.text)
        if at is not None:
            return Span(span.source, span.start + at.start(), span.start + at.end())
    return span if _IDENTIFIER.fullmatch(span.text) else None


def outline(known: Analysis) -> list[tuple[str, str, Span, Span]]:
    """Name, kind, the whole and the name's own place of each definition of the file, in order."""
    if known.file is None:
        return []
    found = []
    for symbol in known.names.symbols:
        if symbol.node is not None and symbol.kind not in ("argument", "dimension", "counter", "step", "carry"):
            found += [(symbol.name, symbol.kind, symbol.node.span, symbol.definitions[0])]
    return sorted(found, key=lambda one: one[3].start)
