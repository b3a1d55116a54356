"""The language server with a real client: what an editor is sent, and that no wrong file ends the server."""

import asyncio
import random
import re
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.client import LanguageClient
from pygls.uris import to_fs_path
from support import netc_command
from test_fuzz import FILES, mutated

from netc.dsl.source import Source
from netc.editor.analysis import Analysis, Counts
from netc.editor.completion import completions
from netc.editor.fixes import actions
from netc.editor.meaning import hover
from netc.editor.protocol import offset_at, position

TEXT = """# two layers; the ☃ and the 🦉 are in UTF-16
let width = 8

# Twice the same layer.
block twice(x: float[n], units) {
  h = x -> dense(units) -> relu
  return h -> dense(units = units)
}

data {
  source = csv("d.csv")
  x = columns("a", "b") -> standardize
  y = column("c")
}

model {
  input x: float[2]
  target y: float

  h = twice(x, units = width)
  z = h -> dense(1) -> squeeze
  output z = z
  loss error = mse(z, y)
}
"""


class Editor:
    """A text that is open in the server."""

    def __init__(self, client: LanguageClient, uri: str) -> None:
        self.client, self.uri, self.version, self.text = client, uri, 0, ""
        self.diagnostics: dict[str, list[types.Diagnostic]] = {}
        self.came = asyncio.Event()

    @property
    def document(self) -> types.TextDocumentIdentifier:
        return types.TextDocumentIdentifier(self.uri)

    def open(self, text: str) -> None:
        self.text = text
        self.client.text_document_did_open(
            types.DidOpenTextDocumentParams(types.TextDocumentItem(self.uri, "net", 0, text))
        )

    def change(self, text: str, at: types.Range | None = None) -> None:
        """Replaces all of the text, or a range of it."""
        self.version += 1
        change = (
            types.TextDocumentContentChangeWholeDocument(text)
            if at is None
            else types.TextDocumentContentChangePartial(at, text)
        )
        document = types.VersionedTextDocumentIdentifier(self.version, self.uri)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))

    def at(self, words: str, ahead: int = 0) -> types.Position:
        """The position of some words in the text, or some characters after it."""
        return position(Source("", self.text), self.text.index(words) + ahead)

    async def faults(self) -> list[types.Diagnostic]:
        """The diagnostics that the server sends next."""
        self.came.clear()
        await asyncio.wait_for(self.came.wait(), 600)
        return self.diagnostics[self.uri]


def in_an_editor(
    path: Path,
    talk: Callable[[Editor], Awaitable[None]],
    arguments: Sequence[str] = (),
    workspace: Path | None = None,
    options: object = None,
) -> None:
    """A session with a server that was started with these arguments. The editor has opened a workspace."""
    folders = [types.WorkspaceFolder(workspace.as_uri(), "workspace")] if workspace is not None else None
    start = types.InitializeParams(
        capabilities=types.ClientCapabilities(), workspace_folders=folders, initialization_options=options
    )

    async def run() -> None:
        client = LanguageClient("test", "1")
        editor = Editor(client, path.as_uri())

        @client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def published(params: types.PublishDiagnosticsParams) -> None:
            editor.diagnostics[params.uri] = list(params.diagnostics)
            editor.came.set()

        await client.start_io(*netc_command("lsp", *arguments))
        await client.initialize_async(start)
        client.initialized(types.InitializedParams())
        await talk(editor)
        await client.shutdown_async(None)
        client.exit(None)
        await client.stop()

    asyncio.run(run())


def labels(completion: Any) -> set[str]:
    return {item.label for item in completion.items}


def test_the_server_ends_quietly_when_it_is_asked_to() -> None:
    """A signal arrives while the server waits for its editor. An exception would not interrupt that."""

    async def run() -> None:
        client = LanguageClient("test", "1")
        await client.start_io(*netc_command("lsp"))
        await client.initialize_async(types.InitializeParams(capabilities=types.ClientCapabilities()))
        server = client._server
        assert server is not None
        assert server.stderr is not None
        server.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(server.wait(), 600) == -signal.SIGTERM
        assert await server.stderr.read() == b""
        await client.stop()

    asyncio.run(run())


def test_a_session_with_every_request(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b,c\n1,2,3\n4,5,6\n", encoding="utf-8")

    async def talk(editor: Editor) -> None:
        editor.open(TEXT)
        assert await editor.faults() == []
        client, document = editor.client, editor.document

        async def hover(words: str, ahead: int = 0) -> str:
            shown = await client.text_document_hover_async(types.HoverParams(document, editor.at(words, ahead)))
            return shown.contents.value if shown else ""

        assert "h: float[8]" in await hover("h = twice")
        assert "96 parameters: `h.twice.h.dense.W`" in await hover("h = twice")
        assert "9 parameters" in await hover("z = h ->")
        assert "17 FLOPs a sample" in await hover("z = h ->")
        assert "block twice(x: float[n], units)" in await hover("twice(x, units = width)")
        assert "Twice the same layer." in await hover("twice(x, units = width)")
        assert "let width = 8" in await hover("width)")
        assert "*layer*: Each output is a weighted sum" in await hover("dense(1)")
        assert "standard deviation" in await hover("standardize")
        assert await hover("layers; the") == ""

        async def definition(words: str, ahead: int = 0) -> tuple[str, int]:
            (definition,) = await client.text_document_definition_async(
                types.DefinitionParams(document, editor.at(words, ahead))
            )
            return definition.uri, definition.range.start.line

        assert await definition("twice(x, units") == (editor.uri, 4)
        assert await definition("units = width") == (editor.uri, 4)
        assert await definition("z, y)") == (editor.uri, 20)
        uri, line = await definition("dense(1)")
        library = Path(to_fs_path(uri) or "").read_text(encoding="utf-8").splitlines()
        assert library[line].startswith("block dense(")

        references = await client.text_document_references_async(
            types.ReferenceParams(types.ReferenceContext(True), document, editor.at("x: float[2]"))
        )
        assert [reference.range.start.line for reference in references] == [11, 16, 19]
        edit = await client.text_document_rename_async(types.RenameParams(document, editor.at("x: float[2]"), "size"))
        text = TEXT
        for edited in sorted(edit.changes[editor.uri], key=lambda edited: -edited.range.start.line):
            start, end = (offset_at(TEXT, at) for at in (edited.range.start, edited.range.end))
            text = text[:start] + edited.new_text + text[end:]
        assert text == TEXT.replace("  x = columns", "  size = columns").replace("input x:", "input size:").replace(
            "twice(x, units = width)", "twice(size, units = width)"
        )
        for name, message in (
            ("h", "`h` already exists"),
            ("let", "`let` is a word of the language"),
            ("1a", "is not a name"),
        ):
            with pytest.raises(JsonRpcException, match=re.escape(message)):
                await client.text_document_rename_async(types.RenameParams(document, editor.at("x: float[2]"), name))

        outline = await client.text_document_document_symbol_async(types.DocumentSymbolParams(document))
        assert [symbol.name for symbol in outline] == ["width", "twice", "h", "x", "y", "h", "z", "error"]

    in_an_editor(tmp_path / "m.net", talk)


def test_a_hover_right_after_a_change_is_of_the_text_as_it_is(tmp_path: Path) -> None:
    """Whether the server answers from the version before or has examined the new one: at the lines where they are now,
    and never from the version before in the line that changed."""
    (tmp_path / "d.csv").write_text("a,b,c\n1,2,3\n4,5,6\n", encoding="utf-8")

    async def talk(editor: Editor) -> None:
        async def hover(words: str) -> types.Hover:
            return await editor.client.text_document_hover_async(types.HoverParams(editor.document, editor.at(words)))

        editor.open(TEXT)
        await editor.faults()
        editor.text = "# one line\n# and another one\n" + TEXT
        editor.change(editor.text)
        shown = await hover("h = twice")
        assert "h: float[8]" in shown.contents.value
        assert shown.range == types.Range(editor.at("h = twice"), editor.at("h = twice", 1))
        editor.text = editor.text.replace("h = twice", "renamed = twice").replace("z = h ->", "z = renamed ->")
        editor.change(editor.text)
        assert "renamed: float[8]" in (await hover("renamed = twice")).contents.value
        editor.change("model {\n  input x: float[3]\n")  # the line is gone
        editor.text = "model {\n  input x: float[3]\n"
        assert await hover("float[3]") is not None

    in_an_editor(tmp_path / "m.net", talk)


def test_faults_are_sent_while_one_types(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b,c\n1,2,3\n4,5,6\n", encoding="utf-8")

    async def talk(editor: Editor) -> None:
        editor.open(TEXT)
        assert await editor.faults() == []
        at = types.Range(editor.at("dense(1)"), editor.at("dense(1)", 5))
        editor.change("dennse", at)
        (fault,) = await editor.faults()
        assert (fault.code, fault.severity) == ("E0201", types.DiagnosticSeverity.Error)
        assert fault.range.start == at.start
        assert "did you mean `dense`?" in fault.message
        code_actions = await editor.client.text_document_code_action_async(
            types.CodeActionParams(editor.document, fault.range, types.CodeActionContext([fault]))
        )
        assert [action.title for action in code_actions] == ["`dense` in place of `dennse`"]
        (edit,) = code_actions[0].edit.changes[editor.uri]
        editor.change(edit.new_text, edit.range)
        assert await editor.faults() == []

        editor.change(TEXT.replace("output z = z", "output z = z +"))
        assert [fault.code for fault in await editor.faults()] == ["E0101"]
        hover = await editor.client.text_document_hover_async(types.HoverParams(editor.document, editor.at("h ->")))
        assert "h: float[8]" in hover.contents.value, "what was known before the text broke"

        editor.change(
            TEXT.replace("  target y", "  input unused: float\n  target y").replace(
                "  y = column", '  unused = column("a")\n  y = column'
            )
        )
        (warning,) = await editor.faults()
        assert (warning.code, warning.severity) == ("W0501", types.DiagnosticSeverity.Warning)
        code_actions = await editor.client.text_document_code_action_async(
            types.CodeActionParams(editor.document, warning.range, types.CodeActionContext([warning]))
        )
        (edit,) = code_actions[-1].edit.changes[editor.uri]
        assert edit.new_text == "  # allow: W0501"
        editor.change(edit.new_text, edit.range)
        assert await editor.faults() == []

        editor.change("model{\n  input   x:float[2]\n  output y=x\n}\n")
        code_actions = await editor.client.text_document_formatting_async(
            types.DocumentFormattingParams(editor.document, types.FormattingOptions(2, True))
        )
        assert [edited.new_text for edited in code_actions] == ["model {\n  input x: float[2]\n  output y = x\n}\n"]

    in_an_editor(tmp_path / "m.net", talk)


@pytest.mark.parametrize(
    ("text", "offered", "absent"),
    [
        ("|", {"model", "data", "block", "import"}, {"dense"}),
        ("model {\n  |\n}", {"input", "loss", "dense"}, {"yield", "adam"}),
        ("model {\n  input x: |\n}", {"float", "class"}, {"dense"}),
        ("model {\n  input x: float[3]\n  h = x -> d|\n}", {"dense", "dropout", "x"}, {"csv", "adam", "mse"}),
        ("model {\n  input x: float[3]\n  loss m|\n}", {"mse", "cross_entropy"}, {"csv"}),
        ("model {\n  param W: float[3] = |\n}", {"orthogonal", "zeros"}, {"dense"}),
        ("model {\n  h = dropout(x, |\n}", {"rate"}, set()),
        ("model {\n  hs = scan x in xs with h = 0 {\n    |\n  }\n}", {"yield"}, {"data"}),
        ("data {\n  |\n}", {"source", "split"}, {"dense"}),
        ("data {\n  source = |\n}", {"csv", "npz"}, {"dense"}),
        ('data {\n  x = column("a") -> |\n}', {"standardize", "classes"}, {"dense", "csv"}),
        ("train {\n  |\n}", {"optimizer", "epochs", "schedule"}, {"dense"}),
        ("train {\n  optimizer = |\n}", {"adam", "sgd"}, {"dense"}),
        ("train {\n  schedule = |\n}", {"cosine"}, {"adam"}),
        ("let width = 3\nstudy {\n  |\n}", {"search", "trials", "width", "batch"}, {"dense"}),
        ("study {\n  batch = |\n}", {"choice", "log"}, {"dense", "tpe"}),
        ("study {\n  search = |\n}", {"tpe", "grid"}, {"choice", "asha"}),
        ("study {\n  prune = |\n}", {"median", "asha"}, {"tpe"}),
        ("model {\n  # a comment |\n}", set(), {"dense"}),
        ("block mine(x, units, gain = 1) { return x }\nmodel {\n  h = mine(x, |)\n}", {"units", "gain"}, set()),
    ],
)
def test_completions_at_each_kind_of_place(text: str, offered: set[str], absent: set[str]) -> None:
    offset = text.index("|")
    source = text.replace("|", "")
    analysis = Analysis(source, None, Counts())
    if analysis.file is None:  # an editor has analysed the text before
        analysis = Analysis(re.sub(r"h = .*", "h = x", source), None, Counts())
    labels_there = {completion.label for completion in completions(source, offset, analysis)}
    assert offered <= labels_there
    assert not absent & labels_there


def test_a_study_is_part_of_the_names_and_descriptions() -> None:
    text = "let width = 3\nmodel {\n  input x: float[2]\n  output y = x -> dense(width)\n}\n"
    text += "study {\n  width = int(1, 6)\n  search = tpe\n}\n"
    analysis = Analysis(text, None, Counts())
    symbol, _ = analysis.names.at(text.index("width = int")) or (None, None)
    assert symbol is not None
    assert [span.line for span in symbol.spans] == [1, 4, 7]
    shown = {words: hover(analysis, text.index(words) + 1) for words in ("int(", "tpe", "width = int")}
    texts = {words: description[0] for words, description in shown.items() if description is not None}
    assert "int(1, 6)" in texts["int("]
    assert "tpe(startup = 10)" in texts["tpe"]
    assert "let width = 3" in texts["width = int"]


def test_no_file_ends_the_server(tmp_path: Path, is_long: bool) -> None:
    """Many wrong files in one session: each request is answered, and a right file at the end is read as usual."""
    draw = random.Random(9)

    async def talk(editor: Editor) -> None:
        editor.open(TEXT)
        await editor.faults()
        for _ in range(2000 if is_long else 120):
            text = mutated(draw.choice(FILES).read_text(encoding="utf-8"), draw)
            editor.change(text)
            lines = text.split("\n")
            line = draw.randrange(len(lines))
            at = types.Position(line, draw.randrange(len(lines[line]) + 1))
            client, document = editor.client, editor.document
            await client.text_document_hover_async(types.HoverParams(document, at))
            await client.text_document_completion_async(types.CompletionParams(document, at))
            await client.text_document_definition_async(types.DefinitionParams(document, at))
            await client.text_document_document_symbol_async(types.DocumentSymbolParams(document))
            whole_text = types.Range(types.Position(0, 0), types.Position(len(lines), 0))
            actions = types.CodeActionParams(document, whole_text, types.CodeActionContext([]))
            await client.text_document_code_action_async(actions)
            formatting = types.DocumentFormattingParams(document, types.FormattingOptions(2, True))
            await client.text_document_formatting_async(formatting)
            await client.text_document_prepare_rename_async(types.PrepareRenameParams(document, at))
        editor.change(TEXT)
        hover = await editor.client.text_document_hover_async(
            types.HoverParams(editor.document, editor.at("h = twice"))
        )
        assert "h: float[8]" in hover.contents.value

    in_an_editor(tmp_path / "m.net", talk)


@pytest.mark.parametrize(
    ("text", "title", "mended"),
    [
        ("model {\n  input x: float[4]\n  output y = x -> dense\n}\n", "`dense(units)`", "x -> dense(units)\n}"),
        ("model {\n  input x: float[4]\n  output y = x -> dense(2)", "add `}` at the end", "dense(2)\n}\n"),
        (
            "model {\n  input x: float[4]\n  output y = x\n}\ntrain {\n  epoch = 3\n}\n",
            "`epochs` in place of `epoch`",
            "  epochs = 3",
        ),
        (
            "model {\n  input x: float[4]\n  output y = x\n}\ntrain {\n  optimizer = zadm(lr = 1)\n}\n",
            "`adam` in place of `zadm`",
            "adam(lr = 1)",
        ),
    ],
)
def test_a_code_action_inserts_the_hint(text: str, title: str, mended: str) -> None:
    analysis = Analysis(text, None, Counts())
    offered = [action for diagnostic in analysis.diagnostics for action in actions(analysis, diagnostic)]
    (chosen,) = [action for action in offered if action.title == title]
    span = chosen.edit.span
    assert mended in text[: span.start] + chosen.edit.text + text[span.end :]


def test_positions_are_in_utf16() -> None:
    text = "a 🦉 b\nc"
    for offset in range(len(text) + 1):
        assert offset_at(text, position(Source("", text), offset)) == offset
    assert position(Source("", text), text.index("b")) == types.Position(0, 5)
    assert offset_at(text, types.Position(9, 9)) == len(text)
