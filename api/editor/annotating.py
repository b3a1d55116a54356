"""The requests of an editor whose answers it shows in a text: shapes, signatures, colours of names, folds, commands.

While a text does not follow the grammar, the answers are those for the last version that did, moved to the lines where
they are now.
"""

from collections.abc import Callable
from typing import Any

from lsprotocol import types

from netc.dsl.source import Span
from netc.editor.analysis import Analysis
from netc.editor.carrying import carried
from netc.editor.kinds import MODIFIERS, TYPES, tokens
from netc.editor.protocol import offset_at, position, range_of
from netc.editor.sections import RUN, folds, lenses
from netc.editor.shapes import shapes
from netc.editor.signatures import signatures
from netc.editor.state import NetServer, path_of

_Carry = Callable[[Span], Span | None]


def _readable(ls: NetServer, uri: str) -> tuple[Analysis, _Carry]:
    """The last analysis of a text with a syntax tree, and the function that carries its spans to the text as it is."""
    now = ls.analysis(uri)
    analysis = ls.readable(uri) or now
    return analysis, carried(analysis.source, now.source)


def _hint(ls: NetServer, params: types.InlayHintParams) -> list[types.InlayHint]:
    analysis, carry = _readable(ls, params.text_document.uri)
    hints = []
    for shape in shapes(analysis):
        span = carry(shape.span)
        if span is None:
            continue
        end = position(span.source, span.end)
        if params.range.start.line <= end.line <= params.range.end.line:
            hint = types.InlayHint(end, shape.text, types.InlayHintKind.Type, padding_left=True)
            hint.tooltip = shape.tip or None
            hints.append(hint)
    return hints


def _sign(ls: NetServer, params: types.SignatureHelpParams) -> types.SignatureHelp | None:
    uri = params.text_document.uri
    text, analysis = ls.text(uri), _readable(ls, uri)[0]
    offered = signatures(text, offset_at(text, params.position), analysis)
    if not offered:
        return None
    shown = [
        types.SignatureInformation(
            signature.label,
            types.MarkupContent(types.MarkupKind.Markdown, signature.doc) if signature.doc else None,
            [types.ParameterInformation(piece) for piece in signature.arguments],
            signature.active,
        )
        for signature in offered
    ]
    fits = next((i for i, signature in enumerate(offered) if signature.active is not None), 0)
    active = offered[fits].active
    # an editor takes the first argument for the active one if none is named, so none is a number beyond the last
    return types.SignatureHelp(shown, fits, len(offered[fits].arguments) if active is None else active)


def _colour(ls: NetServer, params: types.SemanticTokensParams) -> types.SemanticTokens:
    analysis, carry = _readable(ls, params.text_document.uri)
    data: list[int] = []
    line = character = 0
    for token in tokens(analysis):
        span = carry(token.span)
        if span is None:
            continue
        start, end = position(span.source, span.start), position(span.source, span.end)
        ahead = start.character - (character if start.line == line else 0)
        modifiers = sum(1 << MODIFIERS.index(modifier) for modifier in token.modifiers)
        length = end.character - start.character
        data += [start.line - line, ahead, length, TYPES.index(token.type), modifiers]
        line, character = start.line, start.character
    return types.SemanticTokens(data)


def _fold(ls: NetServer, params: types.FoldingRangeParams) -> list[types.FoldingRange]:
    analysis, carry = _readable(ls, params.text_document.uri)
    ranges = []
    for fold in folds(analysis):
        # the ends are carried one by one: what changed is mostly inside of a fold
        first, last = (_line(carry, fold.span, at) for at in (fold.span.start, fold.span.end))
        if first is not None and last is not None and first < last - fold.is_braced:
            ranges.append(types.FoldingRange(first, last - fold.is_braced, kind=fold.kind))
    return ranges


def _line(carry: _Carry, span: Span, offset: int) -> int | None:
    """The line of an offset of `span` in the text as it is, from 0; None if that line has changed."""
    moved = carry(Span(span.source, offset, offset))
    return position(moved.source, moved.start).line if moved is not None else None


def _offer(ls: NetServer, params: types.CodeLensParams) -> list[types.CodeLens]:
    """The commands of a file. None for an editor that did not say in `initializationOptions` that it can run them."""
    (analysis, carry), path = _readable(ls, params.text_document.uri), path_of(params.text_document.uri)
    if path is None or RUN not in ls.commands:
        return []
    return [
        types.CodeLens(range_of(span), types.Command(lens.title, RUN, arguments=[lens.command, str(path)]))
        for lens in lenses(analysis)
        if (span := carry(Span(lens.span.source, lens.span.start, lens.span.start))) is not None
    ]


_LEGEND = types.SemanticTokensLegend(list(TYPES), list(MODIFIERS))
FEATURES: tuple[tuple[str, Callable[..., Any], Any], ...] = (
    (types.TEXT_DOCUMENT_INLAY_HINT, _hint, None),
    (types.TEXT_DOCUMENT_SIGNATURE_HELP, _sign, types.SignatureHelpOptions(["(", ","])),
    (types.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, _colour, _LEGEND),
    (types.TEXT_DOCUMENT_FOLDING_RANGE, _fold, None),
    (types.TEXT_DOCUMENT_CODE_LENS, _offer, None),
)
