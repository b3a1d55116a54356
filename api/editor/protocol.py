"""Turns analyses into the types of the Language Server Protocol: positions, messages, completions, fixes.

The protocol counts lines from 0 and columns in UTF-16 units; netc counts characters of the text.
"""

from lsprotocol import types
from pygls.uris import from_fs_path

from netc.dsl.diagnostics import Diagnostic
from netc.dsl.quoting import escaped
from netc.dsl.source import Source, Span
from netc.editor.analysis import NOT_OPENED
from netc.editor.completion import Completion
from netc.editor.fixes import Action

_KINDS = {
    "operation": types.CompletionItemKind.Function,
    "form": types.CompletionItemKind.Function,
    "layer": types.CompletionItemKind.Class,
    "block": types.CompletionItemKind.Class,
    "op": types.CompletionItemKind.Function,
    "loss": types.CompletionItemKind.Function,
    "metric": types.CompletionItemKind.Function,
    "keyword": types.CompletionItemKind.Keyword,
    "argument": types.CompletionItemKind.Property,
    "let": types.CompletionItemKind.Constant,
    "data step": types.CompletionItemKind.Function,
    "reader": types.CompletionItemKind.Function,
    "optimizer": types.CompletionItemKind.Function,
    "distribution": types.CompletionItemKind.Function,
    "method": types.CompletionItemKind.Function,
    "schedule": types.CompletionItemKind.Function,
}
SYMBOL_KINDS = {
    "block": types.SymbolKind.Class,
    "op": types.SymbolKind.Function,
    "let": types.SymbolKind.Constant,
    "input": types.SymbolKind.Field,
    "target": types.SymbolKind.Field,
    "output": types.SymbolKind.Event,
    "loss": types.SymbolKind.Event,
    "param": types.SymbolKind.Property,
    "layer": types.SymbolKind.Object,
}


# ------------------------------------------------------------------ positions


def position(source: Source, offset: int) -> types.Position:
    """An offset as line and UTF-16 column, both from 0."""
    line, column = source.position(offset)
    before = source.text[offset - column + 1 : offset]
    return types.Position(line - 1, len(before.encode("utf-16-le")) // 2)


def range_of(span: Span) -> types.Range:
    return types.Range(position(span.source, span.start), position(span.source, span.end))


def offset_at(text: str, at: types.Position) -> int:
    """A position of the protocol as an offset. A position beyond the end of its line is that end."""
    start = 0
    for _ in range(at.line):
        end = text.find("\n", start)
        if end < 0:
            return len(text)
        start = end + 1
    line = text[start:].partition("\n")[0]
    ahead = line.encode("utf-16-le")[: 2 * at.character]
    return start + len(ahead.decode("utf-16-le", errors="ignore"))


def whole_range(text: str) -> types.Range:
    """The range of all characters of a text."""
    source = Source("", text)
    return types.Range(types.Position(0, 0), position(source, len(text)))


# ------------------------------------------------------------------ messages, completions, actions


def _severity(diagnostic: Diagnostic) -> types.DiagnosticSeverity:
    if diagnostic.code == NOT_OPENED:
        return types.DiagnosticSeverity.Information
    return types.DiagnosticSeverity.Error if diagnostic.is_error else types.DiagnosticSeverity.Warning


def message_of(diagnostic: Diagnostic) -> types.Diagnostic:
    others = [
        types.DiagnosticRelatedInformation(
            types.Location(uri_of(label.span), range_of(label.span)), escaped(label.text) or "see here"
        )
        for label in diagnostic.others
        if label.span.source.path is not None
    ]
    return types.Diagnostic(
        range_of(diagnostic.primary.span),
        diagnostic.summary(),
        _severity(diagnostic),
        diagnostic.code,
        source="netc",
        related_information=others or None,
    )


def uri_of(span: Span) -> str:
    return from_fs_path(str(span.source.path)) or ""


def item_of(completion: Completion) -> types.CompletionItem:
    return types.CompletionItem(
        completion.label,
        kind=_KINDS.get(completion.kind, types.CompletionItemKind.Variable),
        detail=completion.detail or completion.kind,
        documentation=types.MarkupContent(types.MarkupKind.Markdown, completion.doc) if completion.doc else None,
        insert_text=completion.snippet,
        insert_text_format=types.InsertTextFormat.Snippet if completion.snippet else None,
        sort_text=("0" if completion.kind == "argument" else "1" if not completion.doc else "2") + completion.label,
    )


def code_action(uri: str, action: Action) -> types.CodeAction:
    edit = types.WorkspaceEdit({uri: [types.TextEdit(range_of(action.edit.span), action.edit.text)]})
    return types.CodeAction(
        action.title, types.CodeActionKind.QuickFix, diagnostics=[message_of(action.diagnostic)], edit=edit
    )
