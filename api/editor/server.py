"""`netc lsp`: answers an editor's requests about open texts, in the Language Server Protocol, by pygls.

Each handler is an entry of `_FEATURES`; those whose answers an editor shows in the text are in `annotating`. What is
known of a text comes from `analysis`, its form in the protocol from `protocol`.
"""

import gc
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from netc.dsl.source import Source, Span
from netc.editor import annotating
from netc.editor.carrying import carried
from netc.editor.completion import completions
from netc.editor.fixes import actions, formatted
from netc.editor.meaning import hover
from netc.editor.protocol import (
    SYMBOL_KINDS,
    code_action,
    item_of,
    offset_at,
    range_of,
    uri_of,
    whole_range,
)
from netc.editor.state import NetServer
from netc.editor.uses import definitions, occurrences, outline, rename

# ------------------------------------------------------------------ documents and folders


def _initialize(ls: NetServer, params: types.InitializeParams) -> None:
    options = params.initialization_options
    if isinstance(options, dict):
        ls.counts.opens_data = options.get("isTrusted") is not False
        commands = options.get("commands")
        ls.commands = frozenset(map(str, commands)) if isinstance(commands, list) else frozenset()
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
    for analyses in (ls.analyses, ls.accepted, ls.examined):
        analyses.pop(uri, None)
    ls.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, []))


# ------------------------------------------------------------------ questions about a text


def _hover(ls: NetServer, params: types.HoverParams) -> types.Hover | None:
    uri = params.text_document.uri
    answer = _hover_of_unchanged_line(ls, params)
    if answer is not None:
        return answer
    analysis, before = ls.analysis(uri), ls.accepted.get(uri)
    described = hover(analysis, offset_at(analysis.source.text, params.position), before)
    if described is None:
        return None
    text, span = described
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text), range_of(span))


def _hover_of_unchanged_line(ls: NetServer, params: types.HoverParams) -> types.Hover | None:
    """The answer for a line that did not change, right after a change of another one: from the last version whose
    values are known, so that an editor need not wait. None if there is no such version, or it says nothing."""
    before = ls.unchanged(params.text_document.uri)
    if before is None:
        return None
    now = Source(before.source.name, ls.text(params.text_document.uri), before.source.path)
    offset = offset_at(now.text, params.position)
    earlier = carried(now, before.source)(Span(now, offset, offset))
    described = hover(before, earlier.start) if earlier is not None else None
    span = carried(before.source, now)(described[1]) if described is not None else None
    if described is None or span is None:
        return None
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, described[0]), range_of(span))


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
    spans = occurrences(analysis, offset_at(analysis.source.text, params.position))
    return [types.Location(params.text_document.uri, range_of(span)) for span in spans]


def _outline(ls: NetServer, params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
    return [
        types.DocumentSymbol(
            name, SYMBOL_KINDS.get(kind, types.SymbolKind.Variable), range_of(statement), range_of(name_span), kind
        )
        for name, kind, statement, name_span in outline(ls.analysis(params.text_document.uri))
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
    *annotating.FEATURES,
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
