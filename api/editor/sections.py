"""The parts of a text that an editor can fold, and the commands that it offers above them."""

import re
from collections.abc import Iterator

from msgspec import Struct

from netc.dsl import syntax
from netc.dsl.node import Node, children
from netc.dsl.source import Span
from netc.editor.analysis import Analysis

RUN = "netc.run"  # the editor's command, with two arguments: one of netc's, such as "train", and the path of the file
_BRACED = (syntax.Data, syntax.Train, syntax.Study, syntax.Model, syntax.Block, syntax.Scan, syntax.For)


class Fold(Struct, frozen=True):
    """The lines of `span`, of which the first stays, and the last too if it has the closing brace."""

    span: Span
    kind: str  # "region" or "comment"
    is_braced: bool = False


class Lens(Struct, frozen=True):
    """A command that is offered above a line: its title, and the command of netc."""

    span: Span
    title: str
    command: str


def folds(analysis: Analysis) -> list[Fold]:
    """The parts of a text that take several lines, in order: braces, statements, settings, lists, comments."""
    offered = [*_of_syntax(analysis), *_comments(analysis)]
    first: dict[int, Fold] = {}
    for fold in sorted(offered, key=lambda fold: (fold.span.start, -fold.span.end)):
        first.setdefault(fold.span.line, fold)
    return list(first.values())


def _of_syntax(analysis: Analysis) -> Iterator[Fold]:
    pending: list[Node] = list(analysis.file.items) if analysis.file is not None else []
    while pending:
        node = pending.pop()
        if node.span.line < analysis.source.position(node.span.end)[0]:
            yield Fold(node.span, "region", isinstance(node, _BRACED) or node.span.text.endswith("}"))
            pending += children(node)


def _comments(analysis: Analysis) -> Iterator[Fold]:
    for match in re.finditer(r"(?:^[ \t]*#[^\n]*\n){2,}", analysis.source.text, re.MULTILINE):
        yield Fold(Span(analysis.source, match.start(), match.end() - 1), "comment")


def lenses(analysis: Analysis) -> list[Lens]:
    """Check above the model, Train above the settings of the training, or above a model with data that has none, and
    Study above a study."""
    items = {type(item): item.span for item in (analysis.file.items if analysis.file is not None else ())}
    offers = []
    if syntax.Model in items:
        offers.append(Lens(items[syntax.Model], "Check", "check"))
        if syntax.Data in items:
            offers.append(Lens(items.get(syntax.Train, items[syntax.Model]), "Train", "train"))
        if syntax.Data in items and syntax.Study in items:
            offers.append(Lens(items[syntax.Study], "Study", "study"))
    return offers
