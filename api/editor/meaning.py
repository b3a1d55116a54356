"""Describes the name at an offset of a text, as Markdown: its type, cost and definition, or its reference entry."""

import re
from functools import cache

from netc.compiler.analysis.cost import flops_of
from netc.compiler.elaborate.bindings import Assigned
from netc.compiler.ir.types import describe_sample
from netc.dsl import syntax
from netc.dsl.mistakes.scanning import OPEN_TEXT
from netc.dsl.quoting import markdown_block, markdown_code, markdown_text
from netc.dsl.source import Span
from netc.editor.analysis import Analysis
from netc.editor.names import Symbol
from netc.reference import KINDS, Entry, entries
from netc.runtime.studies.declarations import PRUNES, SEARCHES
from netc.runtime.studies.distributions import EXAMPLES

IDENTIFIER = re.compile(r"[^\W\d]\w*")


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
    word = analysis.names.other_at(offset) or word_at(analysis, offset)
    if word is None:
        return None
    if analysis.file is None and before is not None:
        for symbol in before.names.symbols:
            if symbol.name == word.text:
                return _symbol_text(before, symbol, symbol.definitions[-1]), word.span
    study = _of_study(analysis, word.text, offset)
    if study is not None:
        return study, word.span
    kinds = KINDS_IN[section_at(analysis, offset)]
    matches = [entry for entry in reference().get(word.text, ()) if entry.kind in kinds]
    return ("\n\n---\n\n".join(map(entry_text, matches)), word.span) if matches else None


# the kinds of names that each block of a file can use
KINDS_IN = {
    "data": ("word", "reader", "data step", "augmentation"),
    "train": ("word", "optimizer", "schedule"),
    "study": ("word", "optimizer", "schedule"),
    "": tuple(
        kind for kind in KINDS if kind not in ("reader", "data step", "augmentation", "optimizer", "schedule", "pass")
    ),
}


def _of_study(analysis: Analysis, word: str, offset: int) -> str | None:
    """Describes a word of a `study` block: a distribution, a way to search or to give trials up."""
    if section_at(analysis, offset) != "study":
        return None
    method = {**SEARCHES, **PRUNES}.get(word)
    if method is not None:
        arguments = ", ".join(f"{name} = {default}" for name, (default, _) in method.numbers.items())
        return f"{markdown_block(f'{word}({arguments})' if arguments else word, 'net')}\n\n{method.doc}"
    return markdown_block(EXAMPLES[word], "net") if word in EXAMPLES else None


def section_at(analysis: Analysis, offset: int) -> str:
    """`data`, `train` or `study` inside of such a block, else the empty string."""
    for item in analysis.file.items if analysis.file is not None else ():
        if isinstance(item, syntax.Data | syntax.Train | syntax.Study) and item.span.start <= offset <= item.span.end:
            return {syntax.Data: "data", syntax.Train: "train", syntax.Study: "study"}[type(item)]
    return ""


def entry_text(entry: Entry) -> str:
    """An entry of the reference as Markdown."""
    parts = [markdown_block(entry.signature, "net"), f"*{entry.kind}*: {entry.doc}", *entry.details]
    return "\n\n".join(parts)


def word_at(analysis: Analysis, offset: int) -> syntax.Name | None:
    """The identifier at an offset, such as a setting or a step of the data; None in a comment."""
    line = analysis.source.text[:offset].rpartition("\n")[2]
    if "#" in re.sub(OPEN_TEXT, "", line):
        return None
    for match in IDENTIFIER.finditer(analysis.source.text):
        if match.start() <= offset <= match.end():
            return syntax.Name(Span(analysis.source, match.start(), match.end()), match[0])
    return None


def _symbol_text(analysis: Analysis, symbol: Symbol, span: Span) -> str:
    """Describes a symbol that is used or defined at `span`, as Markdown."""
    definition = symbol.defined_at(span) if span not in symbol.definitions else span
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
