"""Syntax colouring: every example and library file is split into tokens without gaps, each of the right kind."""

import json
import re
from pathlib import Path

import pytest
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, String, Text
from support import ROOT

from netc.editor.sections import RUN

FILES = [*sorted((ROOT / "examples").glob("*.net")), *sorted((ROOT / "dsl" / "library").glob("*.net"))]
TEXT = """# a file
let width = 1e-3
model {
  input x: float[28, t]
  input = x
  for i in 0..4 { y = loss(x) -> "net" }
  loss mse(y, x)
}
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_are_split_into_tokens(path: Path) -> None:
    tokens = list(get_lexer_by_name("net").get_tokens(path.read_text(encoding="utf-8")))
    assert "".join(text for _, text in tokens) == path.read_text(encoding="utf-8")
    assert not [text for kind, text in tokens if kind is Text and text.strip()], "characters of no kind"


def test_words_have_the_right_kind() -> None:
    tokens = [(kind, text) for kind, text in get_lexer_by_name("net").get_tokens(TEXT) if text.strip()]
    assert tokens[0] == (Comment.Single, "# a file")
    assert (Keyword, "let") in tokens
    assert (Number.Float, "1e-3") in tokens
    assert (Keyword.Namespace, "model") in tokens
    assert [kind for kind, text in tokens if text == "input"] == [Keyword.Declaration, Name]
    assert [kind for kind, text in tokens if text == "loss"] == [Name.Function, Keyword.Declaration]
    assert (Keyword.Type, "float") in tokens
    assert [text for kind, text in tokens if kind is Number.Integer] == ["28", "0", "4"]
    assert "".join(text for kind, text in tokens if kind is String.Double) == '"net"'


def test_escapes_have_a_kind_of_their_own() -> None:
    tokens = list(get_lexer_by_name("net").get_tokens(r'x = "a\"\u{e9}\d#" # "' + "\n"))
    assert [text for kind, text in tokens if kind is String.Escape] == [r"\"", r"\u{e9}"]
    assert "".join(text for kind, text in tokens if kind is String.Double) == r'"a\d#"'
    assert (Comment.Single, '# "') in tokens


def test_vscode_colours_the_words_of_the_grammar() -> None:
    """VS Code and Pygments colour each word of the grammar."""
    folder = ROOT / "editors" / "vscode"
    grammar = (ROOT / "dsl" / "grammar.lark").read_text(encoding="utf-8")
    words = set(re.findall(r'"([a-z]+)"', re.sub(r"(?m)^!name:.*$|//.*", "", grammar)))
    assert len(words) > 25
    rules = json.loads((folder / "syntaxes" / "net.tmLanguage.json").read_text(encoding="utf-8"))["patterns"]
    for word in sorted(words):
        assert any(re.search(rf"\b{word}\b", rule.get("match", "")) for rule in rules), word
    described = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    assert described["contributes"]["grammars"][0]["path"] == "./syntaxes/net.tmLanguage.json"
    assert described["contributes"]["configuration"]["properties"]["netc.command"]["default"] == ["netc", "lsp"]
    packed = (folder / ".vscodeignore").read_text(encoding="utf-8").split()
    for name in (described["icon"], "language-configuration.json", "syntaxes/net.tmLanguage.json", "README.md"):
        assert (folder / name).is_file()
        assert f"!{name}" in packed


def test_the_extension_of_vscode_is_one_file_with_its_licence() -> None:
    """Only what .vscodeignore names is packed; build.mjs makes those files that git does not have."""
    folder = ROOT / "editors" / "vscode"
    described = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    build = (folder / "build.mjs").read_text(encoding="utf-8")
    assert "dependencies" not in described, "npm would look for them when the extension is installed"
    assert described["scripts"]["vscode:prepublish"] == "node build.mjs"
    assert described["main"] == "./dist/extension.js"
    first, *packed = (folder / ".vscodeignore").read_text(encoding="utf-8").split()
    assert first == "**"
    for name in (line.removeprefix("!") for line in packed):
        assert (folder / name).is_file() or f'"{name}"' in build or name == "package.json"
    assert "!dist/extension.js" in packed
    assert "!LICENSE" in packed
    ignored = (folder / ".gitignore").read_text(encoding="utf-8").split()
    assert ignored == ["node_modules/", "dist/", "LICENSE", "*.vsix"]


def test_the_packages_that_build_the_extension_of_vscode_are_locked() -> None:
    """`npm ci` refuses a lock that differs from package.json, and packages that differ from their sums in it."""
    folder = ROOT / "editors" / "vscode"
    described = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    packages = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert packages.pop("")["devDependencies"] == described["devDependencies"]
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert "npm ci && npm run package" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_extension_of_vscode_knows_the_commands_of_the_server() -> None:
    folder = ROOT / "editors" / "vscode"
    started = (folder / "extension.js").read_text(encoding="utf-8")
    assert f'registerCommand("{RUN}"' in started
    assert f'commands: ["{RUN}"]' in started
    described = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    for command in described["contributes"]["commands"]:
        assert f'registerCommand("{command["command"]}"' in started
