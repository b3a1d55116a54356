"""The time that an editor waits for the language server: each request, through the protocol, right after a change of a
file of 300 lines."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from lsprotocol import types
from pygls.lsp.client import LanguageClient

_LAYERS = 290


def long_file() -> str:
    """A model of 300 lines, a layer a line."""
    layers = [f"  h{i + 1} = h{i} -> dense(32) -> relu" for i in range(_LAYERS)]
    head = ["# 300 lines", "model {", "  input x: float[64]", "  target y: class(10)", "  h0 = x -> dense(32) -> relu"]
    tail = [f"  z = h{_LAYERS} -> dense(10)", "  output p = softmax(z)", "  loss cross_entropy(z, y)", "}"]
    return "\n".join([*head, *layers, *tail]) + "\n"


def table(rounds: int) -> list[list[str]]:
    """One row for each request: the median and the longest time of an answer in ms, each after a letter was typed."""
    return asyncio.run(_measured(rounds))


async def _measured(rounds: int) -> list[list[str]]:
    client = LanguageClient("benchmarks", "1")
    has_diagnostics = asyncio.Event()

    @client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    def published(params: types.PublishDiagnosticsParams) -> None:
        has_diagnostics.set()

    await client.start_io(sys.executable, "-c", "from netc.commands.main import console; console()", "lsp")
    await client.initialize_async(types.InitializeParams(capabilities=types.ClientCapabilities()))
    client.initialized(types.InitializedParams())
    uri, text = Path("long.net").resolve().as_uri(), long_file()
    client.text_document_did_open(types.DidOpenTextDocumentParams(types.TextDocumentItem(uri, "net", 0, text)))
    await has_diagnostics.wait()
    document, at = types.TextDocumentIdentifier(uri), types.Position(200, 10)
    requests: dict[str, Callable[[], Awaitable[object]]] = {
        "hover": lambda: client.text_document_hover_async(types.HoverParams(document, at)),
        "completion": lambda: client.text_document_completion_async(types.CompletionParams(document, at)),
        "definition": lambda: client.text_document_definition_async(types.DefinitionParams(document, at)),
        "rename": lambda: client.text_document_rename_async(
            types.RenameParams(document, types.Position(200, 3), "other")
        ),
        "formatting": lambda: client.text_document_formatting_async(
            types.DocumentFormattingParams(document, types.FormattingOptions(2, True))
        ),
    }
    rows, version = [["the server's answer on 300 lines, ms", "median", "longest"]], 0
    for name, ask in requests.items():
        times = []
        for i in range(max(rounds, 5)):
            version += 1
            _type(client, uri, version, i)
            begin = time.perf_counter()
            await ask()
            times.append(1e3 * (time.perf_counter() - begin))
        rows.append([name, f"{sorted(times)[len(times) // 2]:.0f}", f"{max(times):.0f}"])
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()
    return rows


def _type(client: LanguageClient, uri: str, version: int, number: int) -> None:
    """Changes one character of the first line."""
    span = types.Range(types.Position(0, 2), types.Position(0, 3))
    change = types.TextDocumentContentChangePartial(span, str(number % 10))
    document = types.VersionedTextDocumentIdentifier(version, uri)
    client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))
