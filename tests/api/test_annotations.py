"""The information that an editor shows in a text: shapes, signatures, colours of names, folds, code lenses."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from support import ROOT
from test_editor import TEXT, Editor, in_an_editor
from test_fuzz import FILES, mutated

from netc.dsl.source import Source, Span
from netc.editor.analysis import Analysis, Counts
from netc.editor.carrying import carried
from netc.editor.kinds import MODIFIERS, TYPES, tokens
from netc.editor.protocol import position
from netc.editor.sections import folds, lenses
from netc.editor.shapes import shapes
from netc.editor.signatures import Signature, signatures

SCAN = """let n = 3
op twice(x) = 2 * x
layer f = dense(n)

# Sums up
# what it reads.
block total(x: float[time, k]) {
  s = scan a in x with h = zeros(k) {
    h = h + a
    yield h
  }
  return last(s)
}

model {
  input x: float[time, 2]
  input y: float[2]

  u = total(x)
  v = y
    -> f
    -> twice
  a, b, c = split(v, 3)
  m = [
    1,
    2,
  ]
  output z = concat(u, a, b, c)
}
"""


def analysed(text: str, path: Path | None = None) -> Analysis:
    return Analysis(text, path, Counts())


def shown(text: str) -> dict[str, str]:
    """The shape at the end of each line that has one, by the line without its indentation."""
    analysis = analysed(text)
    return {
        analysis.source.line(analysis.source.position(shape.span.end)[0]).strip(): shape.text
        for shape in shapes(analysis)
    }


def test_each_line_ends_with_its_shape() -> None:
    assert shown(SCAN) == {
        "h = h + a": "float[2]",
        "}": "float[time, 2]",
        "u = total(x)": "float[2]",
        "-> f": "float[3]",
        "-> twice": "float[3]",
        "a, b, c = split(v, 3)": "float[1], float[1], float[1]",
        "output z = concat(u, a, b, c)": "float[5]",
    }
    assert shown("model {\n  input x: float[ 2 ]\n  input y: class(1 + 1)\n  output z = x\n}\n") == {
        "input y: class(1 + 1)": "class(2)",
        "output z = x": "float[2]",
    }


def test_a_block_that_is_applied_to_several_shapes_shows_each() -> None:
    text = "block b(x: float[n]) {\n  h = x -> relu\n  return h\n}\nmodel {\n  input x: float[2]\n  input y: float[3]\n"
    text += "  output z = concat(b(x), b(y), b(x))\n}\n"
    assert shown(text)["h = x -> relu"] == "float[2] | float[3]"
    (inner,) = [shape for shape in shapes(analysed(TEXT)) if shape.text == "float[8]" and "twice" in shape.span.text]
    assert inner.tip == "96 parameters"


def test_a_text_with_a_fault_shows_the_shapes_that_are_known() -> None:
    assert shown(SCAN.replace("split(v", "splitt(v"))["u = total(x)"] == "float[2]"


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("model {\n  h = dense(|", "x: float[..., n]"),
        ("model {\n  h = dense(x, |", "units"),
        ("model {\n  h = x -> dense(|", "units"),
        ("model {\n  layer f = dense(|", "units"),
        ("model {\n  h = x -> relu -> dropout(rate = |", "rate = 0.5"),
        ("model {\n  h = dropout(dense(x, 3), |", "rate = 0.5"),
        ("model {\n  h = dropout((a, b), [c, d], |", None),
        ("model {\n  h = concat(a, b, c, |", "..."),
        ("model {\n  h = concat(a, over = |", "over = axis"),
        ("model {\n  a, b = split(h, |", "parts"),
        ("model {\n  h = dense(units == |", "x: float[..., n]"),
        ("train {\n  optimizer = adam(lr = 1, |", "beta1 = 0.9"),
        ('data {\n  x = column("a,(") -> classes(unknown, |', "n"),
        ("block mine(x, units, gain = 1) { return x }\nmodel {\n  h = x -> mine(4, |", "gain = 1"),
        ("op mine(x, y) = x + y\nmodel {\n  h = mine(4, |", "y"),
    ],
)
def test_the_argument_that_is_being_written(text: str, argument: str | None) -> None:
    source = text.replace("|", "")
    analysis = analysed(source)
    if analysis.file is None:  # an editor has analysed the text before
        analysis = analysed(source.partition("model {")[0])
    first = signatures(source, text.index("|"), analysis)[0]
    assert first.active is None or first.label[slice(*first.arguments[first.active])] == argument
    assert (first.active is None) == (argument is None)


@pytest.mark.parametrize(
    "text", ["|", "model {\n  h = |", "model {\n  h = (|", "model {\n  h = dense(x)|", "model {\n  # f(|"]
)
def test_there_is_no_signature_outside_of_a_call(text: str) -> None:
    assert signatures(text.replace("|", ""), text.index("|"), analysed("")) == []


def test_names_have_the_colours_of_what_they_are() -> None:
    by_text = {(token.span.text, token.span.line): (token.type, *token.modifiers) for token in tokens(analysed(SCAN))}
    assert by_text["n", 1] == ("variable", "declaration", "readonly")
    assert by_text["n", 3] == ("variable", "readonly")
    assert by_text["dense", 3] == ("function", "defaultLibrary")
    assert by_text["total", 19] == ("function",)
    assert by_text["f", 21] == ("function",)
    assert by_text["k", 8] == ("typeParameter",)
    assert by_text["x", 7] == ("parameter", "declaration")
    settings = {token.span.text: token.type for token in tokens(analysed("train {\n  optimizer = sgd(lr = 1)\n}\n"))}
    assert settings == {"optimizer": "property", "sgd": "function", "lr": "parameter"}


def lines_of(analysis: Analysis) -> list[tuple[int, int, str]]:
    end = analysis.source.position
    return [(fold.span.line, end(fold.span.end)[0], fold.kind) for fold in folds(analysis)]


def test_what_takes_several_lines_can_be_folded() -> None:
    assert lines_of(analysed(SCAN)) == [
        (5, 6, "comment"),
        (7, 13, "region"),
        (8, 11, "region"),
        (15, 29, "region"),
        (20, 22, "region"),
        (24, 27, "region"),
    ]


def test_commands_stand_above_their_blocks() -> None:
    text = 'data {\n  source = csv("d.csv")\n}\nmodel {\n}\n'
    assert [(lens.span.line, lens.command) for lens in lenses(analysed(text))] == [(4, "check"), (4, "train")]
    text += "train {\n}\nstudy {\n}\n"
    assert [(lens.span.line, lens.command) for lens in lenses(analysed(text))] == [
        (4, "check"),
        (6, "train"),
        (8, "study"),
    ]
    assert [lens.command for lens in lenses(analysed("model {\n}\n"))] == ["check"]
    assert lenses(analysed("let n = 3\n")) == []


@pytest.mark.parametrize("seed", range(20))
def test_places_are_carried_over_a_change(seed: int) -> None:
    """Every span that is carried has the same text, and all of those outside of the changed lines are."""
    draw = random.Random(seed)
    start = draw.randrange(len(SCAN))
    end = min(len(SCAN), start + draw.choice((0, 0, 1, 5, 40)))
    now = SCAN[:start] + draw.choice(("", "x", "\n", "a\nb", "\n\n")) + SCAN[end:]
    before = Source("", SCAN)
    carry = carried(before, Source("", now))
    for token in tokens(analysed(SCAN)):
        span = carry(Span(before, token.span.start, token.span.end))
        assert span is None or span.text == token.span.text
        touched = before.position(start)[0], before.position(end)[0]
        assert span is not None or touched[0] - 1 <= token.span.line <= touched[1] + 1


def colours(text: str, answer: types.SemanticTokens) -> list[tuple[str, str, list[str]]]:
    """The words that an answer of the protocol colours, decoded as an editor does it."""
    lines, tokens, line, column = text.split("\n"), list[tuple[str, str, list[str]]](), 0, 0
    for i in range(0, len(answer.data), 5):
        down, ahead, length, kind, bits = answer.data[i : i + 5]
        line, column = line + down, ahead if down else column + ahead
        raw = lines[line].encode("utf-16-le")[2 * column : 2 * (column + length)]
        names = [name for bit, name in enumerate(MODIFIERS) if bits >> bit & 1]
        tokens.append((raw.decode("utf-16-le"), TYPES[kind], names))
    return tokens


def asked(editor: Editor) -> Callable[[str], Any]:
    """Asks for one kind of annotation of the whole text."""
    everything = types.Range(types.Position(0, 0), types.Position(10_000, 0))
    client, document = editor.client, editor.document
    requests: dict[str, Callable[[], Any]] = {
        "hints": lambda: client.text_document_inlay_hint_async(types.InlayHintParams(document, everything)),
        "tokens": lambda: client.text_document_semantic_tokens_full_async(types.SemanticTokensParams(document)),
        "folds": lambda: client.text_document_folding_range_async(types.FoldingRangeParams(document)),
        "lenses": lambda: client.text_document_code_lens_async(types.CodeLensParams(document)),
    }
    return lambda kind: requests[kind]()


def test_an_editor_shows_annotations_also_while_the_text_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b,c\n1,2,3\n4,5,6\n", encoding="utf-8")

    async def talk(editor: Editor) -> None:
        editor.open(TEXT)
        assert await editor.faults() == []
        ask = asked(editor)

        async def hints() -> dict[int, str]:
            return {hint.position.line: hint.label for hint in await ask("hints")}

        before = {5: "float[8]", 19: "float[8]", 20: "float", 21: "float"}
        assert await hints() == before
        kinds = colours(TEXT, await ask("tokens"))
        assert ("width", "variable", ["declaration", "readonly"]) in kinds
        assert ("standardize", "function", ["defaultLibrary"]) in kinds
        assert [(fold.start_line, fold.end_line) for fold in await ask("folds")] == [(4, 6), (9, 12), (15, 22)]
        offered = [(lens.range.start.line, lens.command.title, *lens.command.arguments) for lens in await ask("lenses")]
        path = str(tmp_path / "m.net")
        assert offered == [(15, "Check", "check", path), (15, "Train", "train", path)]

        wrong = TEXT.replace("h = twice(x, units = width)", "h = twice(x, units =\n\n\n")
        editor.change(wrong)
        moved = {line + 3 * (line > 19): text for line, text in before.items() if line != 19}
        assert await hints() == moved
        assert all(kind in kinds for kind in colours(wrong, await ask("tokens")))
        assert [(fold.start_line, fold.end_line) for fold in await ask("folds")] == [(4, 6), (9, 12), (15, 25)]
        help_ = await editor.client.text_document_signature_help_async(
            types.SignatureHelpParams(editor.document, position(Source("", wrong), wrong.index("units =\n") + 7))
        )
        assert help_.signatures[0].label == "twice(x: float[n], units)"
        assert help_.active_parameter == 1

    in_an_editor(tmp_path / "m.net", talk, options={"commands": ["netc.run"]})


def test_an_editor_that_runs_no_commands_is_offered_none(tmp_path: Path) -> None:
    async def talk(editor: Editor) -> None:
        editor.open(TEXT)
        await editor.faults()
        assert list(await asked(editor)("lenses")) == []

    in_an_editor(tmp_path / "m.net", talk)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.net")), ids=lambda path: path.stem)
def test_every_example_has_shapes_and_colours(path: Path) -> None:
    analysis = Analysis(path.read_text(encoding="utf-8"), path, Counts([path.parent]))
    assert shapes(analysis)
    assert {token.type for token in tokens(analysis)} >= {"function", "variable"}
    assert folds(analysis)


def test_no_text_ends_the_annotations(is_long: bool) -> None:
    draw = random.Random(11)
    for _ in range(1000 if is_long else 60):
        text = mutated(draw.choice(FILES).read_text(encoding="utf-8"), draw)
        analysis = analysed(text)
        offset = draw.randrange(len(text) + 1)
        for ask in (shapes, tokens, folds, lenses):
            assert all(0 <= item.span.start <= item.span.end <= len(text) for item in ask(analysis))
        assert all(isinstance(signature, Signature) for signature in signatures(text, offset, analysis))
