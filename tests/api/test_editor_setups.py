"""The setups of Neovim and Helix in docs/editors.md: they name what there is. If Neovim is here, it runs its own."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support import ROOT

DOCS = (ROOT / "docs" / "editors.md").read_text(encoding="utf-8")
CHECK = """
assert(vim.wait(60000, function()
  local clients = vim.lsp.get_clients({ bufnr = 0 })
  return #clients > 0 and clients[1].initialized
end), "the server does not start")
local document = vim.lsp.util.make_text_document_params()
local function ask(method, params)
  for _, answer in pairs(vim.lsp.buf_request_sync(0, method, params, 60000) or {}) do return answer.result end
end
local hover = ask("textDocument/hover", { textDocument = document, position = { line = 3, character = 2 } })
local ends = { start = { line = 0, character = 0 }, ["end"] = { line = 9, character = 0 } }
print(hover.contents.value)
print("hints", #ask("textDocument/inlayHint", { textDocument = document, range = ends }))
print("shown", vim.lsp.inlay_hint.is_enabled({ bufnr = 0 }), vim.bo.commentstring, vim.wo.foldexpr)
vim.cmd("qa!")
"""


def snippet(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)
    return str(text)


def test_the_setup_of_helix_names_what_there_is() -> None:
    setup = tomllib.loads(snippet("toml"))
    assert setup["language-server"]["netc"] == {"command": "netc", "args": ["lsp"]}
    (language,), (grammar,) = setup["language"], setup["grammar"]
    assert language["language-servers"] == ["netc"]
    assert language["file-types"] == ["net"]
    assert grammar["name"] == language["name"] == "net"
    folder = ROOT / grammar["source"]["path"].removeprefix("/path/to/netc/")
    assert f"name: {grammar['name']!r}".replace("'", '"') in (folder / "grammar.js").read_text(encoding="utf-8")
    for path in re.findall(r"(?:editors/tree-sitter-net/|[ ])((?:src|queries)/[\w.]+)", DOCS):
        assert (folder / path).is_file()


def test_the_setup_of_neovim_starts_the_server() -> None:
    setup = snippet("lua")
    assert 'cmd = { "netc", "lsp" }' in setup
    for opened, closed in ("()", "{}", "[]"):
        assert setup.count(opened) == setup.count(closed)
    assert len(re.findall(r"\bfunction\b", setup)) == len(re.findall(r"\bend\b", setup))


@pytest.mark.skipif(shutil.which("nvim") is None, reason="there is no Neovim")
def test_neovim_shows_the_shapes(tmp_path: Path) -> None:
    config = tmp_path / "config" / "nvim"
    config.mkdir(parents=True)
    command = [sys.executable, "-c", "from netc.commands.main import console; console()", "lsp"]
    words = ", ".join(f"[[{word}]]" for word in command)
    setup = snippet("lua").replace('{ "netc", "lsp" }', "{ " + words + " }")
    (config / "init.lua").write_text(setup, encoding="utf-8")
    (tmp_path / "check.lua").write_text(CHECK, encoding="utf-8")
    model = "model {\n  input x: float[4]\n\n  h = x -> dense(8)\n  output y = h -> relu\n}\n"
    (tmp_path / "m.net").write_text(model, encoding="utf-8")
    folders = {f"XDG_{kind}_HOME": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
    done = subprocess.run(
        ["nvim", "--headless", "m.net", "+luafile check.lua"],
        cwd=tmp_path,
        env={**os.environ, **folders},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    shown = done.stdout + done.stderr
    assert "h: float[8]" in shown
    assert "40 parameters" in shown
    assert "hints 2" in shown
    assert "shown true # %s v:lua.vim.lsp.foldexpr()" in shown
