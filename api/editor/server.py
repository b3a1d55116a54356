"""`netc lsp`: the analysis of open texts in the Language Server Protocol, by pygls. What a place is to the protocol (lines and UTF-16) ends here."""

import asyncio
import gc
import logging
from collections.abc import Sequence
from pathlib import Path

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from netc.dsl.diagnostics import Diagnostic
from netc.dsl.quoting import escaped
from netc.dsl.source import Source, Span
from netc.editor.analysis import (
    NOT_OPENED,
    Action,
    Analysis,
    Counts,
    actions,
    definitions,
    formatted,
    hover,
    outline,
    places,
    rename,
)
from netc.editor.completion import Completion, completions

_PAUSE = 0.15  # seconds without a change, after which faults are told
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
    "schedule": types.CompletionItemKind.Function,
}
_SYMBOLS = {
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


# ------------------------------------------------------------------ places


def position(source: Source, offset: int) -> types.Position:
    """An offset as line and UTF-16 unit, both from 0."""
    line, column = source.position(offset)
    before = source.text[offset - column + 1 : offset]
    return types.Position(line - 1, len(before.encode("utf-16-le")) // 2)


def range_of(span: Span) -> types.Range:
    return types.Range(position(span.source, span.start), position(span.source, span.end))


def offset_at(text: str, at: types.Position) -> int:
    """A place of the protocol as an offset; beyond a line's end it is that end."""
    start = 0
    for _ in range(at.line):
        end = text.find("\n", start)
        if end < 0:
            return len(text)
        start = end + 1
    line = text[start:].partition("\n")[0]
    ahead = line.encode("utf-16-le")[: 2 * at.character]
    return start + len(ahead.decode("utf-16-le", errors="ignore"))


def _whole(text: str) -> types.Range:
    source = Source("", text)
    return types.Range(types.Position(0, 0), position(source, len(text)))


# ------------------------------------------------------------------ the server


class NetServer(LanguageServer):
    """The open texts, each with what is known of it, and of its last version that the grammar took.

    `allowed` are folders whose data may be opened, besides those of the workspace.
    """

    def __init__(self, allowed: Sequence[Path] = ()) -> None:
        super().__init__("netc", "1", text_document_sync_kind=types.TextDocumentSyncKind.Incremental)
        self.allowed = tuple(allowed)
        self.known: dict[str, Analysis] = {}
        self.good: dict[str, Analysis] = {}
        self.counts = Counts()
        self.waiting: dict[str, asyncio.TimerHandle] = {}

    def text(self, uri: str) -> str:
        return str(self.workspace.get_text_document(uri).source)

    def of(self, uri: str) -> Analysis:
        """What is known of a text as it is now."""
        text, known = self.text(uri), self.known.get(uri)
        if known is None or known.source.text != text:
            known = self.known[uri] = Analysis(text, _path(uri), self.counts)
        if known.file is not None:
            self.good[uri] = known
        return known

    def look_around(self) -> None:
        """The folders of the workspace are those whose data may be opened; what was found out with others is forgotten."""
        folders = [_path(folder.uri) for folder in self.workspace.folders.values()] or [
            _path(self.workspace.root_uri or "")
        ]
        self.counts.folders = (*self.allowed, *(folder for folder in folders if folder is not None))
        self.known.clear()

    def tell(self, uri: str) -> None:
        """Publish what is wrong with a text."""
        known = self.of(uri)
        version = self.workspace.get_text_document(uri).version
        found = [_published(one) for one in known.diagnostics if one.primary.span.source is known.source]
        # what is wrong in a file that it imports is told where it is imported
        top = types.Range(types.Position(0, 0), types.Position(0, 0))
        found += [
            types.Diagnostic(top, one.render(), types.DiagnosticSeverity.Error, one.code, source="netc")
            for one in known.diagnostics
            if one.primary.span.source is not known.source
        ]
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, found, version))

    def tell_soon(self, uri: str) -> None:
        if uri in self.waiting:
            self.waiting[uri].cancel()
        self.waiting[uri] = asyncio.get_running_loop().call_later(_PAUSE, self.pause, uri)

    def pause(self, uri: str) -> None:
        """Nobody types: time to tell what is wrong, and to let go of the texts before this one."""
        self.tell(uri)
        gc.collect()


def _path(uri: str) -> Path | None:
    """The path of a file; None for what is in no file: new, an earlier version, elsewhere."""
    path = to_fs_path(uri) if uri.startswith("file:") else None
    return Path(path) if path else None


def _severity(one: Diagnostic) -> types.DiagnosticSeverity:
    if one.code == NOT_OPENED:
        return types.DiagnosticSeverity.Information
    return types.DiagnosticSeverity.Error if one.is_error else types.DiagnosticSeverity.Warning


def _published(one: Diagnostic) -> types.Diagnostic:
    others = [
        types.DiagnosticRelatedInformation(
            types.Location(_uri(label.span), range_of(label.span)), escaped(label.text) or "see here"
        )
        for label in one.others
        if label.span.source.path is not None
    ]
    return types.Diagnostic(
        range_of(one.primary.span),
        one.summary(),
        _severity(one),
        one.code,
        source="netc",
        related_information=others or None,
    )


def _uri(span: Span) -> str:
    return from_fs_path(str(span.source.path)) or ""


def _item(one: Completion) -> types.CompletionItem:
    return types.CompletionItem(
        one.label,
        kind=_KINDS.get(one.kind, types.CompletionItemKind.Variable),
        detail=one.detail or one.kind,
        documentation=types.MarkupContent(types.MarkupKind.Markdown, one.doc) if one.doc else None,
        insert_text=one.snippet,
        insert_text_format=types.InsertTextFormat.Snippet if one.snippet else None,
        sort_text=("0" if one.kind == "argument" else "1" if not one.doc else "2") + one.label,
    )


def server(allowed: Sequence[Path] = ()) -> NetServer:
    """The server, its features registered."""
    made = NetServer(allowed)

    @made.feature(types.INITIALIZE)
    def initialized(ls: NetServer, params: types.InitializeParams) -> None:
        options = params.initialization_options
        ls.counts.opens_data = not (isinstance(options, dict) and options.get("isTrusted") is False)
        ls.look_around()

    @made.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def moved(ls: NetServer, params: types.DidChangeWorkspaceFoldersParams) -> None:
        ls.look_around()
        for uri in list(ls.workspace.text_documents):
            ls.tell_soon(uri)

    @made.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(ls: NetServer, params: types.DidOpenTextDocumentParams) -> None:
        ls.tell(params.text_document.uri)

    @made.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(ls: NetServer, params: types.DidChangeTextDocumentParams) -> None:
        ls.tell_soon(params.text_document.uri)

    @made.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(ls: NetServer, params: types.DidSaveTextDocumentParams) -> None:
        ls.tell(params.text_document.uri)

    @made.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(ls: NetServer, params: types.DidCloseTextDocumentParams) -> None:
        uri = params.text_document.uri
        for kept in (ls.known, ls.good):
            kept.pop(uri, None)
        ls.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, []))

    @made.feature(types.TEXT_DOCUMENT_HOVER)
    def hovered(ls: NetServer, params: types.HoverParams) -> types.Hover | None:
        uri = params.text_document.uri
        known, before = ls.of(uri), ls.good.get(uri)
        found = hover(known, offset_at(known.source.text, params.position), before)
        if found is None:
            return None
        return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, found[0]), range_of(found[1]))

    @made.feature(
        types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=[">", "(", " ", ".", "=", ","])
    )
    def completed(ls: NetServer, params: types.CompletionParams) -> types.CompletionList:
        uri = params.text_document.uri
        text = ls.text(uri)
        known = ls.of(uri)
        found = completions(text, offset_at(text, params.position), known if known.file else ls.good.get(uri, known))
        return types.CompletionList(False, [_item(one) for one in found])

    @made.feature(types.TEXT_DOCUMENT_DEFINITION)
    def defined(ls: NetServer, params: types.DefinitionParams) -> list[types.Location]:
        known = ls.of(params.text_document.uri)
        found = definitions(known, offset_at(known.source.text, params.position))
        return [
            types.Location(params.text_document.uri if one.source is known.source else _uri(one), range_of(one))
            for one in found
        ]

    @made.feature(types.TEXT_DOCUMENT_REFERENCES)
    def referred(ls: NetServer, params: types.ReferenceParams) -> list[types.Location]:
        known = ls.of(params.text_document.uri)
        found = places(known, offset_at(known.source.text, params.position))
        return [types.Location(params.text_document.uri, range_of(one)) for one in found]

    @made.feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
    def prepared(ls: NetServer, params: types.PrepareRenameParams) -> types.Range | None:
        known = ls.of(params.text_document.uri)
        found = known.names.at(offset_at(known.source.text, params.position))
        return range_of(found[1]) if found else None

    @made.feature(types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True))
    def renamed(ls: NetServer, params: types.RenameParams) -> types.WorkspaceEdit:
        uri = params.text_document.uri
        known = ls.of(uri)
        found = rename(known, offset_at(known.source.text, params.position), params.new_name)
        if isinstance(found, str):
            raise JsonRpcInvalidParams(found)
        return types.WorkspaceEdit({uri: [types.TextEdit(range_of(one.span), one.text) for one in found]})

    @made.feature(types.TEXT_DOCUMENT_FORMATTING)
    def format_(ls: NetServer, params: types.DocumentFormattingParams) -> list[types.TextEdit]:
        known = ls.of(params.text_document.uri)
        text = formatted(known)
        if text is None or text == known.source.text:
            return []
        return [types.TextEdit(_whole(known.source.text), text)]

    @made.feature(
        types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix])
    )
    def acted(ls: NetServer, params: types.CodeActionParams) -> list[types.CodeAction]:
        uri = params.text_document.uri
        known = ls.of(uri)
        text = known.source.text
        start, end = (offset_at(text, one) for one in (params.range.start, params.range.end))
        found = []
        for diagnostic in known.diagnostics:
            span = diagnostic.primary.span
            if span.source is known.source and span.start <= end and start <= span.end:
                found += [_code_action(uri, one) for one in actions(known, diagnostic)]
        return found

    @made.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def outlined(ls: NetServer, params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
        known = ls.of(params.text_document.uri)
        return [
            types.DocumentSymbol(
                name, _SYMBOLS.get(kind, types.SymbolKind.Variable), range_of(whole), range_of(own), kind
            )
            for name, kind, whole, own in outline(known)
        ]

    return made


def _code_action(uri: str, one: Action) -> types.CodeAction:
    edit = types.WorkspaceEdit({uri: [types.TextEdit(range_of(one.edit.span), one.edit.text)]})
    return types.CodeAction(
        one.title, types.CodeActionKind.QuickFix, diagnostics=[_published(one.diagnostic)], edit=edit
    )


def serve(allowed: Sequence[Path] = ()) -> None:
    """Speak with one editor over standard input and output until it ends. `allowed` are folders whose data may be opened, besides the workspace."""
    logging.getLogger("pygls").setLevel(logging.ERROR)
    gc.freeze()  # what is loaded stays
    gc.disable()  # a walk through a text's tree would be felt while one types: it is done in a pause
    server(allowed).start_io()
