"""`netc lsp`: answers an editor's requests about open texts, in the Language Server Protocol, by pygls.

Each handler is an entry of `_FEATURES`. What is known of a text comes from `analysis`, its form in the protocol from
`protocol`.
"""

import asyncio
import gc
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from netc.editor.analysis import Analysis, Counts
from netc.editor.completion import completions
from netc.editor.fixes import actions, formatted
from netc.editor.meaning import hover
from netc.editor.protocol import (
    SYMBOL_KINDS,
    code_action,
    item_of,
    message_of,
    offset_at,
    range_of,
    uri_of,
    whole_range,
)
from netc.editor.uses import definitions, outline, places, rename

_PAUSE = 0.15  # seconds without a change, after which messages are published


class NetServer(LanguageServer):
    """The open texts, each with its analysis, and with that of its last version that the grammar accepted.

    Data may be opened in the folders `allowed` and in those of the workspace.
    """

    def __init__(self, allowed: Sequence[Path] = ()) -> None:
        super().__init__("netc", "1", text_document_sync_kind=types.TextDocumentSyncKind.Incremental)
        self.allowed = tuple(allowed)
        self.analyses: dict[str, Analysis] = {}
        self.accepted: dict[str, Analysis] = {}
        self.counts = Counts()
        self.timers: dict[str, asyncio.TimerHandle] = {}

    def text(self, uri: str) -> str:
        return str(self.workspace.get_text_document(uri).source)

    def analysis(self, uri: str) -> Analysis:
        """The analysis of a text as it is now."""
        text, analysis = self.text(uri), self.analyses.get(uri)
        if analysis is None or analysis.source.text != text:
            analysis = self.analyses[uri] = Analysis(text, _path(uri), self.counts)
        if analysis.file is not None:
            self.accepted[uri] = analysis
        return analysis

    def update_folders(self) -> None:
        """Allows data to be opened in the workspace's current folders. Forgets analyses made with other folders."""
        folders = [_path(folder.uri) for folder in self.workspace.folders.values()] or [
            _path(self.workspace.root_uri or "")
        ]
        self.counts.folders = (*self.allowed, *(folder for folder in folders if folder is not None))
        self.analyses.clear()

    def publish(self, uri: str) -> None:
        """Publishes the messages about a text. Those about an imported file are shown at its first line."""
        analysis = self.analysis(uri)
        version = self.workspace.get_text_document(uri).version
        top = types.Range(types.Position(0, 0), types.Position(0, 0))
        own, imported = [], []
        for diagnostic in analysis.diagnostics:
            if diagnostic.primary.span.source is analysis.source:
                own.append(message_of(diagnostic))
            else:
                severity = types.DiagnosticSeverity.Error
                imported.append(types.Diagnostic(top, diagnostic.render(), severity, diagnostic.code, source="netc"))
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, [*own, *imported], version))

    def publish_soon(self, uri: str) -> None:
        """Publishes the messages about a text once it has not changed for a moment."""
        if uri in self.timers:
            self.timers[uri].cancel()
        self.timers[uri] = asyncio.get_running_loop().call_later(_PAUSE, self.pause, uri)

    def pause(self, uri: str) -> None:
        """Publishes messages and frees the memory of earlier versions, while the user does not type."""
        self.publish(uri)
        gc.collect()


def _path(uri: str) -> Path | None:
    """The path of a file. None for a text that is in no file: a new one, an earlier version, one on another machine."""
    path = to_fs_path(uri) if uri.startswith("file:") else None
    return Path(path) if path else None


# ------------------------------------------------------------------ documents and folders


def _initialize(ls: NetServer, params: types.InitializeParams) -> None:
    options = params.initialization_options
    ls.counts.opens_data = not (isinstance(options, dict) and options.get("isTrusted") is False)
    ls.update_folders()


def _change_folders(ls: NetServer, params: types.DidChangeWorkspaceFoldersParams) -> None:
    ls.update_folders()
    for uri in list(ls.workspace.text_documents):
        ls.publish_soon(uri)


def _open(ls: NetServer, params: types.DidOpenTextDocumentParams) -> None:
    ls.publish(params.text_document.uri)


def _change(ls: NetServer, params: types.DidChangeTextDocumentParams) -> None:
    ls.publish_soon(params.text_document.uri)


def _save(ls: NetServer, params: types.DidSaveTextDocumentParams) -> None:
    ls.publish(params.text_document.uri)


def _close(ls: NetServer, params: types.DidCloseTextDocumentParams) -> None:
    uri = params.text_document.uri
    for analyses in (ls.analyses, ls.accepted):
        analyses.pop(uri, None)
    ls.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, []))


# ------------------------------------------------------------------ questions about a text


def _hover(ls: NetServer, params: types.HoverParams) -> types.Hover | None:
    uri = params.text_document.uri
    analysis, before = ls.analysis(uri), ls.accepted.get(uri)
    answer = hover(analysis, offset_at(analysis.source.text, params.position), before)
    if answer is None:
        return None
    text, span = answer
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text), range_of(span))


def _complete(ls: NetServer, params: types.CompletionParams) -> types.CompletionList:
    uri = params.text_document.uri
    text = ls.text(uri)
    analysis = ls.analysis(uri)
    if analysis.file is None:
        analysis = ls.accepted.get(uri, analysis)
    offers = completions(text, offset_at(text, params.position), analysis)
    return types.CompletionList(False, [item_of(completion) for completion in offers])


def _define(ls: NetServer, params: types.DefinitionParams) -> list[types.Location]:
    uri = params.text_document.uri
    analysis = ls.analysis(uri)
    spans = definitions(analysis, offset_at(analysis.source.text, params.position))
    return [types.Location(uri if span.source is analysis.source else uri_of(span), range_of(span)) for span in spans]


def _refer(ls: NetServer, params: types.ReferenceParams) -> list[types.Location]:
    analysis = ls.analysis(params.text_document.uri)
    spans = places(analysis, offset_at(analysis.source.text, params.position))
    return [types.Location(params.text_document.uri, range_of(span)) for span in spans]


def _outline(ls: NetServer, params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
    return [
        types.DocumentSymbol(
            name, SYMBOL_KINDS.get(kind, types.SymbolKind.Variable), range_of(statement), range_of(own), kind
        )
        for name, kind, statement, own in outline(ls.analysis(params.text_document.uri))
    ]


# ------------------------------------------------------------------ changes of a text


def _prepare_rename(ls: NetServer, params: types.PrepareRenameParams) -> types.Range | None:
    analysis = ls.analysis(params.text_document.uri)
    match = analysis.names.at(offset_at(analysis.source.text, params.position))
    return range_of(match[1]) if match else None


def _rename(ls: NetServer, params: types.RenameParams) -> types.WorkspaceEdit:
    uri = params.text_document.uri
    analysis = ls.analysis(uri)
    edits = rename(analysis, offset_at(analysis.source.text, params.position), params.new_name)
    if isinstance(edits, str):
        raise JsonRpcInvalidParams(edits)
    return types.WorkspaceEdit({uri: [types.TextEdit(range_of(edit.span), edit.text) for edit in edits]})


def _format(ls: NetServer, params: types.DocumentFormattingParams) -> list[types.TextEdit]:
    analysis = ls.analysis(params.text_document.uri)
    text = formatted(analysis)
    if text is None or text == analysis.source.text:
        return []
    return [types.TextEdit(whole_range(analysis.source.text), text)]


def _act(ls: NetServer, params: types.CodeActionParams) -> list[types.CodeAction]:
    uri = params.text_document.uri
    analysis = ls.analysis(uri)
    text = analysis.source.text
    start, end = offset_at(text, params.range.start), offset_at(text, params.range.end)
    offers = []
    for diagnostic in analysis.diagnostics:
        span = diagnostic.primary.span
        if span.source is analysis.source and span.start <= end and start <= span.end:
            offers += [code_action(uri, action) for action in actions(analysis, diagnostic)]
    return offers


# ------------------------------------------------------------------ the server

_COMPLETION = types.CompletionOptions(trigger_characters=[">", "(", " ", ".", "=", ","])
_RENAME = types.RenameOptions(prepare_provider=True)
_ACTION = types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix])
_FEATURES: tuple[tuple[str, Callable[..., Any], Any], ...] = (
    (types.INITIALIZE, _initialize, None),
    (types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS, _change_folders, None),
    (types.TEXT_DOCUMENT_DID_OPEN, _open, None),
    (types.TEXT_DOCUMENT_DID_CHANGE, _change, None),
    (types.TEXT_DOCUMENT_DID_SAVE, _save, None),
    (types.TEXT_DOCUMENT_DID_CLOSE, _close, None),
    (types.TEXT_DOCUMENT_HOVER, _hover, None),
    (types.TEXT_DOCUMENT_COMPLETION, _complete, _COMPLETION),
    (types.TEXT_DOCUMENT_DEFINITION, _define, None),
    (types.TEXT_DOCUMENT_REFERENCES, _refer, None),
    (types.TEXT_DOCUMENT_DOCUMENT_SYMBOL, _outline, None),
    (types.TEXT_DOCUMENT_PREPARE_RENAME, _prepare_rename, None),
    (types.TEXT_DOCUMENT_RENAME, _rename, _RENAME),
    (types.TEXT_DOCUMENT_FORMATTING, _format, None),
    (types.TEXT_DOCUMENT_CODE_ACTION, _act, _ACTION),
)


def server(allowed: Sequence[Path] = ()) -> NetServer:
    """The server with all of its features. `allowed` are folders whose data may be opened, besides the workspace."""
    instance = NetServer(allowed)
    for name, handler, options in _FEATURES:
        instance.feature(name, options)(handler)
    return instance


def serve(allowed: Sequence[Path] = ()) -> None:
    """Serves one editor over standard input and output until it ends."""
    logging.getLogger("pygls").setLevel(logging.ERROR)
    gc.freeze()  # the loaded modules stay
    gc.disable()  # a collection would be noticeable while the user types; `pause` does it
    server(allowed).start_io()
