"""The grammar for tree-sitter in editors/: it reads what netc reads, in the same parts, and colours each word."""

import random
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from test_fuzz import FILES as WRONG
from test_fuzz import mutated

from netc.dsl import syntax
from netc.dsl.node import Node, children
from netc.dsl.parser import parse
from netc.dsl.source import Source

tree_sitter = pytest.importorskip("tree_sitter")
if shutil.which("cc") is None:
    pytest.skip("there is no C compiler", allow_module_level=True)
FOLDER = ROOT / "editors" / "tree-sitter-net"
FILES = [
    *sorted((ROOT / "examples").rglob("*.net")),
    *sorted((ROOT / "dsl" / "library").glob("*.net")),
    *sorted((ROOT / "tests" / "gallery").glob("*/right.net")),
]
CORPUS = runpy.run_path(str(FOLDER / "test" / "corpus.py"))


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return CORPUS["parser"](tmp_path_factory.mktemp("tree_sitter"))


def nodes(tree: Any) -> list[Any]:
    pending, visited = [tree.root_node], []
    while pending:
        visited.append(pending.pop())
        pending += visited[-1].children
    return visited


def test_every_file_is_read_without_an_error(parser: Any) -> None:
    assert len(FILES) > 200
    wrong = [str(path.relative_to(ROOT)) for path in FILES if parser.parse(path.read_bytes()).root_node.has_error]
    assert wrong == []


def names_of(file: syntax.File) -> set[tuple[int, int]]:
    pending: list[Node] = list(file.items)
    spans = set()
    while pending:
        node = pending.pop()
        if isinstance(node, syntax.Name):
            spans.add((node.span.start, node.span.end))
        pending += children(node)
    return spans


@pytest.mark.parametrize("path", FILES[:60], ids=lambda path: str(path.relative_to(ROOT)))
def test_names_and_statements_are_where_netc_has_them(parser: Any, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if not text.isascii():
        pytest.skip("tree-sitter counts bytes")
    file = parse(Source(path.name, text, path))
    tree = nodes(parser.parse(text.encode()))
    kinds = {child.id for node in tree if node.type == "type" if (child := node.child_by_field_name("kind"))}
    identifiers = {
        (node.start_byte, node.end_byte) for node in tree if node.type == "identifier" and node.id not in kinds
    }
    assert identifiers == names_of(file)
    items = [node for node in parser.parse(text.encode()).root_node.named_children if node.type != "comment"]
    assert [(node.start_byte, node.end_byte) for node in items] == [
        (item.span.start, item.span.end) for item in file.items
    ]


def test_the_corpus_is_that_of_the_grammar(parser: Any) -> None:
    """`python editors/tree-sitter-net/test/corpus.py` writes it again."""
    assert (FOLDER / "test" / "corpus" / "files.txt").read_text(encoding="utf-8") == CORPUS["corpus"](parser)


def captured(parser: Any, text: str) -> dict[str, str]:
    """The last capture of each word that has one, by the word."""
    query = tree_sitter.Query(parser.language, (FOLDER / "queries" / "highlights.scm").read_text(encoding="utf-8"))
    words: dict[tuple[int, int], tuple[int, str, str]] = {}
    for number, (pattern, captures) in enumerate(
        tree_sitter.QueryCursor(query).matches(parser.parse(text.encode()).root_node)
    ):
        for name, matches in captures.items():
            for node in matches:
                key = (node.start_byte, node.end_byte)
                words[key] = max(words.get(key, (-1, "", "")), (1000 * pattern + number, node.text.decode(), name))
    return {word: name for _, word, name in words.values()}


def test_words_have_colours(parser: Any) -> None:
    text = """# a comment
let width = 1e-3
model {
  input x: float[28, time]
  y = x -> dense(width, bias = true) -> relu
  for i in 0..4 {
    y = loss(y)
  }
  loss mse(y, "a\\n")
}
"""
    shown = captured(parser, text)
    expected = {
        "let": "keyword",
        "1e-3": "number",
        "input": "keyword",
        "float": "type",
        "time": "type.parameter",
        "dense": "function.call",
        "relu": "function.call",
        "bias": "variable.parameter",
        "true": "constant.builtin",
        "for": "keyword.repeat",
        "..": "operator",
        "->": "operator",
        "# a comment": "comment",
        "\\n": "string.escape",
        "mse": "function.call",
        "width": "variable",
    }
    assert {word: shown.get(word) for word in expected} == expected


def test_each_word_of_the_grammar_has_a_colour() -> None:
    grammar = (ROOT / "dsl" / "grammar.lark").read_text(encoding="utf-8")
    words = set(re.findall(r'"([a-z]+)"', re.sub(r"(?m)^!name:.*$|//.*", "", grammar)))
    coloured = set(re.findall(r'"(\w+)"', (FOLDER / "queries" / "highlights.scm").read_text(encoding="utf-8")))
    assert words - coloured == {"class"}, "a type, like float"


def test_no_text_ends_the_parser(parser: Any) -> None:
    draw = random.Random(5)
    for _ in range(200):
        text = mutated(draw.choice(WRONG).read_text(encoding="utf-8"), draw)
        assert parser.parse(text.encode()).root_node.end_byte <= len(text.encode())
