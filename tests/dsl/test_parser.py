"""The grammar: the examples parse, print and parse again to the same tree."""

import pickle
from importlib import resources
from pathlib import Path

import pytest
from lark import Lark

from netc.dsl.diagnostics import Fault
from netc.dsl.parser import Newlines, parse
from netc.dsl.printer import expression, print_file
from netc.dsl.source import Source

COMPLETE = """# digits.net: a small convolutional network for handwritten digits
let filters = 16                       # netc train digits.net --set filters=32

data {
  source = idx("data/mnist")
  image  = field("image") -> scale(1 / 255) -> reshape(28, 28, 1)
  split  = (train = 0.8, valid = 0.1, test = 0.1)
}

block conv_unit(x: float[h, w, c], n) {
  return x -> conv(n, kernel = 3, pad = same) -> batchnorm -> relu
}

model {
  input  image: float[28, 28, 1]
  target label: class(10)

  features = image
    # first the small one
    -> conv_unit(filters)     -> maxpool(2)
    -> conv_unit(2 * filters) -> maxpool(2)
  logits = features -> dense(128) -> relu -> dropout(0.3) -> dense(10)
  output digit = softmax(logits)
  loss   cross_entropy(logits, label)
}

block lstm(x: float[t, n], units, h0 = zeros(units), c0 = zeros(units)) {
  param W: float[n, 4 * units]     = glorot_uniform
  hs, cs = scan xt in x with h = h0, c = c0 {
    i, f, g, o = split(xt @ W, 4)
    yield h, c
  }
  return hs, cs
}
"""
RIGHT = [
    "loss = mse(a, b) -> last",
    "state = zeros(3)",
    "output = f(input)",
    'train = csv("a.csv")',
    "loss x = mean(y)",
    "loss mean(y)",
    "metric accuracy(a, b)",
    "y = x @ W + b -> relu",
    "y = x + (x -> conv(16, pad = same))",
    "y = a and not b or c == 3",
    "h: float[64] = x[:time]",
    "a, b = split(x, 2)",
    "w = f(x)[0, 1:, :] ** -2",
    "for i in 0..4 { x = x -> residual(16 * 2 ** i) }",
    "z = [1, 5, -2]",
    "q = x // 2 % 3",
    "t = scan i in 0..40 until token == 2 with token = 1, h = code { yield token }",
    "y = a +\n b",
    "y = x\n # why\n\n -> f(1,\n 2)",
    "y = reverse(scan a, b in x, y with h = zeros(4) {\n h = a + b\n yield h\n})",
    "split = (train = 0.8, test = 0.2)",
    's = ("a.*" = 0.1)',
    "x = g(m.W, f)",
    "u = (x -> dense(7) if wide else x) -> dense(1)",
    "param b: float[n] = zeros, decay = no",
    "y = 1e-3 * .5 + 1_000",
    "größe = x",
    "x = f(...)",
]
WRONG = [
    "y = ",
    "y = x -> 3",
    "input = ",
    "for i 0..4 { }",
    "y = f(x",
    "y x",
    "scan x in y { }",
    "if = 3",
    "y = 3 = 4",
    'y = "abc',
]


def test_grammar_has_no_conflict() -> None:
    grammar = resources.files("netc.dsl").joinpath("grammar.lark").read_text(encoding="utf-8")
    assert Lark(grammar, parser="lalr", strict=True, postlex=Newlines())


@pytest.mark.parametrize("text", [COMPLETE, *(f"model {{\n{snippet}\n}}\n" for snippet in RIGHT)])
def test_print_gives_back_what_was_read(text: str) -> None:
    tree = parse(Source("a.net", text))
    printed = print_file(tree)
    again = parse(Source("a.net", printed))
    assert again.items == tree.items
    assert print_file(again) == printed
    assert printed.count("#") == text.count("#"), "a comment is lost"


@pytest.mark.parametrize("snippet", WRONG)
def test_wrong_text_is_a_fault_with_a_location(snippet: str) -> None:
    with pytest.raises(Fault) as raised:
        parse(Source("a.net", f"model {{\n  {snippet}\n}}\n"))
    assert all(1 <= diagnostic.primary.span.line <= 4 for diagnostic in raised.value.diagnostics)


def test_spans_cover_the_text() -> None:
    file = parse(Source("a.net", "let a = 3 + 4\nmodel {\n  y = x -> f(1)\n}\n"))
    assert file.items[0].span.text == "let a = 3 + 4"
    (statement,) = file.items[1].body
    assert statement.value.into.span.text == "f(1)"
    assert (statement.span.line, statement.span.column) == (3, 3)


def test_cached_tables_are_read_and_damaged_ones_are_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lark import Lark

    from netc.dsl import tables
    from netc.dsl.storage import home

    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "own"))
    grammar, parsers = 'start: "a"+\n', []
    real = Lark.__init__
    monkeypatch.setattr(
        Lark, "__init__", lambda self, *arguments, **named: parsers.append(1) or real(self, *arguments, **named)
    )
    trees = [tables.parser_of(grammar, None).parse("aaa") for _ in range(3)]
    assert len(parsers) == 1
    assert trees[0] == trees[1] == trees[2]
    (kept,) = (tmp_path / "own").glob("parser-*.tables")
    content = kept.read_bytes()
    for damaged in (content[:-1], content[:40] + b"\0" + content[41:], b""):
        kept.write_bytes(damaged)
        assert tables.parser_of(grammar, None).parse("aa") is not None
        assert tables._read(kept, None) is not None
    assert len(parsers) == 4
    (tmp_path / "own").chmod(0o777)
    monkeypatch.setattr(home, "_warned", set())
    with pytest.warns(home.CacheWarning, match="other users can write to"):
        tables.parser_of(grammar, None)
    assert len(parsers) == 5, "a folder that others can write to was trusted"


def test_a_scan_is_printed_with_its_comments() -> None:
    text = (
        "block a(x: float[t, n]) {\n  s = scan xt in x with h = zeros(n) {  # head\n    # inside\n"
        "    h = h + xt  # added\n"
        "    yield h\n  }  # end\n  z = last(scan xt in x with h = zeros(n) {\n    h = h * xt\n    yield h\n  })\n"
        "  return s\n}\n"
    )
    messy = text.replace("h + xt", "h  +xt").replace("    # inside", "# inside").replace("    yield", "  yield")
    assert print_file(parse(Source("a.net", messy))) == text
    assert print_file(parse(Source("a.net", text))) == text


def test_a_fault_can_be_pickled() -> None:
    """A pool of processes breaks if it cannot unpickle an exception of a worker."""
    with pytest.raises(Fault) as caught:
        parse(Source("model.net", "model {\n  x = \n}\n"))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (Fault, str(caught.value))
    assert copy.diagnostics[0].primary.span.line == 3


def test_a_long_choice_is_printed_with_a_line_for_each_condition() -> None:
    links = " else ".join(f"{i} * gradient if gradient < {i} else {i} + gradient if gradient == {i}" for i in range(4))
    text = f"op steps(gradient) = {links} else gradient\n"
    printed = print_file(parse(Source("m.net", text)))
    assert [line.strip() for line in printed.splitlines()][1:3] == [
        "0 + gradient if gradient == 0 else",
        "1 * gradient if gradient < 1 else",
    ]
    assert max(map(len, printed.splitlines())) <= 100
    again = parse(Source("m.net", printed))
    assert print_file(again) == printed
    assert expression(again.items[0].value) == links + " else gradient"
