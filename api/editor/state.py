"""The state of the language server: the open texts with their analyses, and when messages about them are published.

Answers no requests: those are in `server` and `annotating`.
"""

import asyncio
import gc
from collections.abc import Sequence
from pathlib import Path

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from netc.editor.analysis import Analysis, Counts
from netc.editor.protocol import message_of

_PAUSE = 0.15  # seconds without a change, after which messages are published


class NetServer(LanguageServer):
    """The open texts, each with its analysis, that of its last version that the grammar accepted, and that of the last
    one whose values are known.

    Data may be opened in the folders `allowed` and in those of the workspace.
    """

    def __init__(self, allowed: Sequence[Path] = ()) -> None:
        super().__init__("netc", "1", text_document_sync_kind=types.TextDocumentSyncKind.Incremental)
        self.allowed = tuple(allowed)
        self.analyses: dict[str, Analysis] = {}
        self.accepted: dict[str, Analysis] = {}
        self.examined: dict[str, Analysis] = {}
        self.counts = Counts()
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.commands: frozenset[str] = frozenset()  # those that the editor can run

    def text(self, uri: str) -> str:
        return str(self.workspace.get_text_document(uri).source)

    def analysis(self, uri: str) -> Analysis:
        """The analysis of a text as it is now."""
        text, analysis = self.text(uri), self.analyses.get(uri)
        if analysis is None or analysis.source.text != text:
            analysis = self.analyses[uri] = Analysis(text, path_of(uri), self.counts)
        if analysis.file is not None:
            self.accepted[uri] = analysis
        return analysis

    def readable(self, uri: str) -> Analysis | None:
        """The analysis of a text, or of its last version that follows the grammar; None if there has been none."""
        analysis = self.analysis(uri)
        return analysis if analysis.file is not None else self.accepted.get(uri)

    def unchanged(self, uri: str) -> Analysis | None:
        """The analysis of the last version whose messages were published, if the text has changed a moment ago.

        Before the pause in which the text is examined again, it answers what would otherwise keep an editor waiting.
        """
        return self.examined.get(uri) if uri in self.timers else None

    def update_folders(self) -> None:
        """Allows data to be opened in the workspace's current folders. Forgets analyses made with other folders."""
        folders = [path_of(folder.uri) for folder in self.workspace.folders.values()] or [
            path_of(self.workspace.root_uri or "")
        ]
        self.counts.folders = (*self.allowed, *(folder for folder in folders if folder is not None))
        self.analyses.clear()

    def publish(self, uri: str) -> None:
        """Publishes the messages about a text. Those about an imported file are shown at its first line."""
        analysis = self.analysis(uri)
        if analysis.file is not None:
            self.examined[uri] = analysis
        version = self.workspace.get_text_document(uri).version
        top = types.Range(types.Position(0, 0), types.Position(0, 0))
        messages, imported = [], []
        for diagnostic in analysis.diagnostics:
            if diagnostic.primary.span.source is analysis.source:
                messages.append(message_of(diagnostic))
            else:
                severity = types.DiagnosticSeverity.Error
                imported.append(types.Diagnostic(top, diagnostic.render(), severity, diagnostic.code, source="netc"))
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, [*messages, *imported], version))

    def publish_soon(self, uri: str) -> None:
        """Publishes the messages about a text once it has not changed for a moment."""
        if uri in self.timers:
            self.timers[uri].cancel()
        self.timers[uri] = asyncio.get_running_loop().call_later(_PAUSE, self.pause, uri)

    def pause(self, uri: str) -> None:
        """Publishes messages and frees the memory of earlier versions, while the user does not type."""
        self.timers.pop(uri, None)
        self.publish(uri)
        gc.collect()


def path_of(uri: str) -> Path | None:
    """The path of a file. None for a text that is in no file: a new one, an earlier version, one on another machine."""
    path = to_fs_path(uri) if uri.startswith("file:") else None
    return Path(path) if path else None
