"""No text becomes code: hostile names through every writer, read back by another parser and compared.

Nothing in the names is executed. `pytest --long tests/test_quoting.py` takes 2,000 names.
"""

import ast
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from hostile import PIECES, hostile_names, plain
from markdown_it import MarkdownIt
from msgspec.structs import force_setattr
from watching import Executed, nothing_else_runs

import netc
from netc.compiler import pipeline
from netc.compiler.analysis.outline import outline_of
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.export.exportable import Exported, exportable
from netc.compiler.export.numpy_file import numpy_file
from netc.compiler.export.onnx_file import onnx_file
from netc.compiler.ir.results import ResultKind
from netc.compiler.model import Model
from netc.dsl import quoting
from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.parser import parse
from netc.dsl.printer import print_file
from netc.dsl.source import Source, Span
from netc.editor.analysis import Analysis, Counts
from netc.editor.meaning import hover
from netc.notebook import html as notebook_html
from netc.notebook.magic import coloured
from netc.runtime.inference.parts import fields_of
from netc.runtime.insight import sections
from netc.runtime.insight.curves import draw
from netc.runtime.insight.drawing import page as drawing
from netc.runtime.insight.drawing.figure import picture
from netc.runtime.insight.drawing.flame import Flame, flame_svg
from netc.runtime.insight.pages import page_html
from netc.runtime.program import Program

SEED = 20261128
TEXT = """let b = 1
model {
  input x: float[3]
  target y: class(2)
  z = x -> dense(2)  # COMMENT
  output p = softmax(z)
  loss cross_entropy(z, y)
}
"""


@pytest.fixture
def names(is_long: bool) -> list[str]:
    return hostile_names(2000 if is_long else 300, SEED)


def model_called(name: str, comment: str = "") -> Model:
    """A small model in a file with this name.

    A comment with the name is put into its text after parsing, because a later parser might accept more.
    """
    source = Source("model.net", TEXT)
    model = elaborate(parse(source))
    hostile = Source(name, TEXT.replace("COMMENT", comment.replace("\n", " ")))
    for field in ("name", "text"):
        force_setattr(source, field, getattr(hostile, field))
    source.__dict__.pop("_line_starts", None)  # those of the other text
    return model


def exported(model: Model, name: str, labels: tuple[str, ...] = ("no", "yes"), note: str = "") -> Exported:
    graph = pipeline.prediction_graph(model)
    arrays = dict(Program(model, backend="reference").persistent)
    types = {key: output.type for key, output in graph.results_of(ResultKind.OUTPUT).items()}
    notes = {"x": note, "p": note}
    return Exported(name, exportable(graph), fields_of(model, graph), types, arrays, notes, {"y": labels, "p": labels})


def no_words(name: str) -> np.ndarray:
    return np.array([1, 2], np.int32)


# ------------------------------------------------------------------ the watch itself


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.system('true')",
        "import subprocess\nsubprocess.run(['true'])",
        "import socket\nsocket.socket()",
        "x = 1",
    ],
)
def test_the_watch_reports_code_that_runs(text: str) -> None:
    """Without this, the tests below would prove nothing."""
    with pytest.raises((Executed, AssertionError)), nothing_else_runs():
        exec(compile(text, "hostile.py", "exec"), {})
    if text != "x = 1":
        with pytest.raises((Executed, AssertionError)), nothing_else_runs("hostile.py"):
            exec(compile(text, "hostile.py", "exec"), {})


# ------------------------------------------------------------------ Python


def without_surrogates(text: str) -> str:
    """The text with escapes in place of surrogates, as docstrings have it."""
    return "".join(f"\\u{ord(character):04x}" if "\ud800" <= character <= "\udfff" else character for character in text)


def test_names_in_an_exported_file_of_python(names: list[str]) -> None:
    """The statements and predictions are those of a harmless name.

    The docstring and the labels contain the name.
    """
    calm = ast.parse(numpy_file(exported(model_called("model.net"), "model"), no_words))
    x = np.random.default_rng(0).normal(size=(4, 3))
    expected: Any = None
    for name in ["model", *names]:
        asked = exported(model_called(name, name), name, ("no", name), name)
        text = numpy_file(asked, no_words)
        assert all(plain(line) for line in text.split("\n")), repr(name)
        tree = ast.parse(text.encode())
        said = ast.get_docstring(tree, clean=False)
        assert said is not None
        shown = without_surrogates(name)
        assert said.startswith(f"{shown}, exported by netc")
        assert f"({shown})" in said
        space: dict[str, Any] = {}
        with nothing_else_runs("model.py"):
            exec(compile(text.encode(), "model.py", "exec"), space)
            predicted = space["predict"](x)["p"]
        assert space["labels"] == {"y": ("no", name), "p": ("no", name)}
        assert [dumped(statement) for statement in tree.body] == [dumped(statement) for statement in calm.body]
        expected = predicted if expected is None else expected
        assert np.array_equal(predicted, expected)


def dumped(statement: ast.stmt) -> str:
    """A statement as text, without the docstring, the labels and the numbers."""
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    is_labels = isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) in ("labels", "_bytes")
    return type(statement).__name__ if is_text or is_labels else ast.dump(statement)


def test_pieces_of_python(names: list[str]) -> None:
    for name in names:
        tree = ast.parse(f"\n\nx = 1  # {quoting.python_comment(name)}\ny = {quoting.python_string(name)}\n".encode())
        assert len(tree.body) == 2
        assert ast.literal_eval(tree.body[1].value) == name
        assert ast.literal_eval(f'"""{quoting.python_docstring(name)}"""') == without_surrogates(name)
        quoted = quoting.python_name(name, {"a", "xa"})
        assert ast.parse(f"def f({quoted}): pass")
        assert quoted not in ("a", "xa")


IDENTIFIERS = (
    *(
        "nan",
        "inf",
        "infinity",
        "NaN",
        "np",
        "math",
        "zlib",
        "base64",
        "predict",
        "labels",
        "len",
        "range",
        "reversed",
        "t",
        "i",
        "one",
    ),
    *(
        "_weights",
        "_samples",
        "_places",
        "_bytes",
        "_sigmoid",
        "__debug__",
        "_",
        "None",
        "True",
        "lambda",
        "class_",
        "print",
        "global",
    ),
    *(
        "ﬁ",
        "fi",
        "x²",
        "x2",
        "½",
        "v1",
        "v2",
        "length1",
        "first1",
        "carry1",
        "x_rows",
        "np_",
        "s1_step",
        "s1_x0",
        "s1_c0",
        "batch_",
    ),
    *(
        "constant_0",
        "constant_1",
        "add_1",
        "add_2",
        "gemm_1",
        "matmul_1",
        "identity_1",
        "softmax_1",
        "tanh_3",
        "x",
        "y1",
        "W",
        "b",
    ),
)


def test_names_of_inputs_in_exported_files() -> None:
    """Whatever the name of an input in `.net`, both files accept it and compute the same."""
    import onnxruntime

    inputs = "".join(f"  input {name}: float[2]\n" for name in IDENTIFIERS)
    total = " + ".join(f"{i + 1} * {name}" for i, name in enumerate(IDENTIFIERS))
    model = netc.parse(
        f"model {{\n{inputs}  input varying: float[time, 2]\n  input varying_rows: float[2]\n"
        f"  summed = {total}\n  output state = last(reverse(gru(varying, 2))) + varying_rows + summed\n}}\n"
    )
    graph = pipeline.prediction_graph(model)
    types = {key: output.type for key, output in graph.results_of(ResultKind.OUTPUT).items()}
    program, rng = Program(model, backend="reference"), np.random.default_rng(1)
    fields: dict[str, Any] = {name: rng.normal(size=(3, 2)).astype(np.float32) for name in model.inputs}
    fields["varying"] = [rng.normal(size=(n, 2)).astype(np.float32) for n in (2, 4, 1)]
    asked = Exported("m", exportable(graph), fields_of(model, graph), types, dict(program.persistent), {}, {})
    expected = program.predict(fields)["state"]
    space: dict[str, Any] = {}
    exec(compile(numpy_file(asked, no_words), "model.py", "exec"), space)
    ordered = [fields[name] for name in asked.inputs]
    np.testing.assert_allclose(space["predict"](*ordered)["state"], expected, rtol=1e-4, atol=1e-4)
    padded = {**fields, "varying": np.zeros((3, 4, 2), np.float32), "length.time": np.array([2, 4, 1])}
    for i, sequence in enumerate(fields["varying"]):
        padded["varying"][i, : len(sequence)] = sequence
    session = onnxruntime.InferenceSession(onnx_file(asked), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["state"], padded)[0], expected, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------ ONNX and JSON


def test_names_in_onnx(names: list[str]) -> None:
    model = model_called("model.net")
    for name in names:
        with nothing_else_runs():
            content = onnx_file(exported(model, name or "model", ("no", name), name))
        read = onnx.load_model_from_string(content)
        notes = {entry.key: entry.value for entry in read.metadata_props}
        assert read.graph.name == quoting.escaped(name or "model")
        assert json.loads(notes["labels.p"]) == ["no", joined(name)]
        assert notes["x"] == quoting.escaped(name)


def joined(text: str) -> str:
    """The text with adjacent surrogates joined to one character, as JSON readers do."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def strict(text: str) -> Any:
    def no_constant(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_constant=no_constant)


def test_names_and_numbers_in_json(names: list[str]) -> None:
    for name in names:
        value = {name: [1.5, float("nan"), (float("inf"), name)], "x": {"y": -float("inf"), "z": [True, None, 3]}}
        expected = {joined(name): [1.5, None, [None, joined(name)]], "x": {"y": None, "z": [True, None, 3]}}
        for is_ascii in (True, False):
            text = quoting.json_text(value, is_ascii=is_ascii, indent=None if is_ascii else 2)
            assert strict(text) == expected
            text.encode()
        script = Parsed.of(f"<p><script>{quoting.json_in_html(value)}</script></p>")
        assert script.tags == ["p", "script", "/script", "/p"]
        assert strict("".join(script.texts)) == expected
    again = quoting.with_nan(strict(quoting.json_text({"a": [float("inf"), 1.0], "b": "c"})))
    assert np.isnan(again["a"][0])
    assert again["a"][1:] == [1.0]
    assert again["b"] == "c"


# ------------------------------------------------------------------ HTML and SVG


class Parsed(HTMLParser):
    """The tags of a page with their attributes, and the texts between them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.others: list[str] = []

    @classmethod
    def of(cls, text: str) -> "Parsed":
        text.encode()
        parsed = cls()
        parsed.feed(text)
        parsed.close()
        return parsed

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    def handle_decl(self, decl: str) -> None:
        self.others.append(decl)

    def unknown_decl(self, data: str) -> None:
        self.others.append(data)

    def handle_pi(self, data: str) -> None:
        self.others.append(data)


def test_pieces_of_html(names: list[str]) -> None:
    for name in names:
        parsed = Parsed.of(f"<p>{quoting.html_text(name)}</p><pre>{quoting.html_lines(name)}</pre>")
        assert parsed.tags == ["p", "/p", "pre", "/pre"]
        assert "".join(parsed.texts) == quoting.escaped(name) + quoting.escaped_lines(name)
        assert not parsed.others


def test_names_in_the_page_of_a_model(names: list[str]) -> None:
    calm = Parsed.of(drawing.page(outline_of(model := model_called("model.net")), model))
    for name in names:
        model = model_called(name, name)
        parsed = Parsed.of(drawing.page(outline_of(model), model))
        assert parsed.tags == calm.tags
        assert len(parsed.others) == len(calm.others)
        assert parsed.attributes == calm.attributes
        shown = quoting.escaped(model.source.file_name)
        assert not shown or parsed.texts.count(shown) >= 2, "the title and the heading"
        facts = strict(next(text for text in parsed.texts if text.startswith('{"links"')))
        line = model.source.line(5).strip()
        assert joined(line) in {detail["line"] for detail in facts["details"].values()}


def sections_of(name: str) -> list[sections.Section]:
    """A section of each kind, with the text wherever it may stand."""
    return [
        sections.Heading(name),
        sections.Paragraph(name),
        sections.Note(name),
        sections.Cards([sections.Card("data:,", f"below {name}", name)]),
        sections.Plots([sections.Plot("<svg></svg>", f"below {name}")]),
        sections.Table((name,), [(name,)]),
        sections.Summary([(name, "1", "0 to 2")]),
        sections.Matrix((name,), [[sections.Cell(1, 75, True)]]),
        sections.Listing(f"first\n{name}"),
        sections.Text([(name, -50, "0.1")]),
        sections.Curves([sections.Curve(name, "<svg></svg>", "<svg></svg>", {"x": [1], "names": [name]})]),
    ]


def test_names_in_a_report(names: list[str]) -> None:
    calm = Parsed.of(page_html("model.net", "model.net", sections_of("model.net")))
    for name in names:
        parsed = Parsed.of(page_html(name, name, sections_of(name)))
        assert parsed.tags == calm.tags
        assert parsed.others == calm.others
        shown = quoting.escaped(name)
        assert parsed.attributes == [(key, shown if key == "alt" else value) for key, value in calm.attributes]
        assert not shown or parsed.texts.count(shown) >= calm.texts.count("model.net")
        assert f"below {shown}" in parsed.texts
        assert f"first\n{quoting.escaped_lines(name)}" in parsed.texts


class StrangePredictions:
    """Predictions whose columns, labels and problems have a name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems = (SimpleNamespace(row=1, column=name, reason=name),)

    def columns(self) -> dict[str, list[Any]]:
        return {self.name: [self.name, None], f"p[{self.name}]": [np.float32(0.5), None]}


def shown_in_notebooks(name: str) -> str:
    model = model_called(name, name)
    rows = [{"epoch": epoch, f"train.{name}": 1.0 / epoch} for epoch in (1, 2)]
    parts = [notebook_html.model_html(model), notebook_html.predictions_html(StrangePredictions(name))]  # type: ignore[arg-type]
    return "".join([*parts, notebook_html.table((name,), [(name,)], (), [name]), notebook_html.curves(rows)])


def test_names_in_notebooks(names: list[str]) -> None:
    calm = Parsed.of(shown_in_notebooks("calm"))
    keys = [key for key, _ in calm.attributes]
    for name in names:
        parsed = Parsed.of(shown_in_notebooks(f"a {name}"))
        assert parsed.tags == calm.tags
        assert [key for key, _ in parsed.attributes] == keys
        assert not parsed.others
        assert parsed.texts.count(quoting.escaped(f"a {name}")) >= 3, "the head of a table, a cell, the line below"
        code = Parsed.of(coloured(f"{name}\nlet a = 1"))
        assert {*code.tags} <= {"pre", "/pre", "span", "/span"}
        assert {key for key, _ in code.attributes} == {"style"}


def test_names_in_a_flame_graph(names: list[str]) -> None:
    for name in names:
        root = Flame("step", 1.0, "", "step", (Flame(name, 1.0, name, "forward"),))
        tree = ElementTree.fromstring(flame_svg(root).encode())
        assert quoting.escaped(f"{name}: {name}") in [
            element.text for element in tree.iter("{http://www.w3.org/2000/svg}title")
        ]


def test_names_in_curves_and_pictures(names: list[str]) -> None:
    metrics = [
        {"epoch": float(i), "seconds": 1.0, **{f"train.{name}": 0.5 * i for name in names[40:100:5]}} for i in (1, 2)
    ]
    assert ElementTree.fromstring(draw(metrics)).tag == "{http://www.w3.org/2000/svg}svg"
    for name in names[:5]:
        model = model_called(name, name)
        drawn = picture(outline_of(model), model, "svg")
        assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
        with nothing_else_runs():
            assert picture(outline_of(model), model, "png").startswith(b"\x89PNG")


# ------------------------------------------------------------------ .net


def test_pieces_of_net(names: list[str]) -> None:
    refusals = 0
    for name in names:
        if re.search("[\ud800-\udfff]", name):
            with pytest.raises(ValueError, match="it contains half of a surrogate pair") as caught:
                quoting.net_string(name)
            assert plain(str(caught.value))
            refusals += 1
        else:
            text = quoting.net_string(name)
            file = parse(Source("m.net", f"let a = {text}\nlet b = 1\n"))
            assert plain(text)
            assert [item.value.value for item in file.items] == [name, 1]
            assert parse(Source("m.net", print_file(file))).items[0].value.value == name
        quoted = quoting.net_name(name, {"b", "a", "c_0"}, "column")
        text = f"let {quoted} = 1  # {quoting.net_comment(name)}\nlet b = 2\n"
        file = parse(Source("m.net", text))
        assert [item.name.text for item in file.items] == [quoted, "b"]
        assert quoted not in ("a", "b", "c_0")
        assert not re.search(r"#\s*allow:", quoting.net_comment(f"# {name}").removeprefix("# allow"))
    assert 0 < refusals < len(names)


def test_a_text_with_any_forbidden_character_is_refused(names: list[str]) -> None:
    for character in sorted({character for name in names for character in name if not plain(character)} | {"\r"}):
        for text in (f"let a = 1 # {character}x\n", f'let a = "{character}x"\n', f"let a ={character}1\n"):
            if character in "\n\t":
                continue
            with pytest.raises(netc.Fault) as caught:
                parse(Source("m.net", text))
            first = caught.value.diagnostics[0]
            assert (first.code, first.primary.span.start) == ("E0105", text.index(character))
            assert first.hint
            assert all(plain(line) for line in str(caught.value).split("\n"))
    windows = parse(Source("m.net", "let a = 1  # one\r\n\r\nlet b = 2\r\n# end\r\n"))
    assert [item.name.text for item in windows.items] == ["a", "b"]


# ------------------------------------------------------------------ Markdown


def test_pieces_of_markdown(names: list[str]) -> None:
    """Read back by a parser that accepts HTML, tables and bare links: text stays text, and code stays code."""
    reader = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    for name in names:
        text = f"*block* of this file. {quoting.markdown_text(name)} end"
        (_, inline, _) = reader.parse(text)
        assert [token.type for token in inline.children[:4]] == ["em_open", "text", "em_close", "text"]
        assert {token.type for token in inline.children[3:]} <= {"text", "text_special"}, repr(name)
        said = "".join(token.content for token in inline.children[3:])
        assert said.split() == f"of this file. {quoting.escaped(name)} end".split()
        (_, inline, _) = reader.parse(f"a {quoting.markdown_code(name)} b") if name.strip(" ") else (0, None, 0)
        if inline is not None:
            assert [token.type for token in inline.children] == ["text", "code_inline", "text"], repr(name)
            assert inline.children[1].content.strip(" ") == quoting.escaped(name).strip(" ")
        fence, after = reader.parse(quoting.markdown_block(f"x {name}\n{name}", "net") + "\n\n# after")[:2]
        assert (fence.type, fence.info, after.type) == ("fence", "net", "heading_open"), repr(name)
        assert fence.content.rstrip("\n") == quoting.escaped_lines(f"x {name}\n{name}").rstrip("\n")


def test_names_in_hovers(names: list[str]) -> None:
    reader = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    for name in names:
        said = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", "", quoting.net_comment(name))
        text = f"# {said}\nblock twice(x) {{\n  return x + x\n}}\nmodel {{ output y = twice(1) }}\n"
        shown = hover(Analysis(text, None, Counts()), text.index("twice"))
        assert shown is not None
        kinds = [token.type for token in reader.parse(shown[0])]
        assert kinds == ["fence", "paragraph_open", "inline", "paragraph_close"], repr(name)
        assert "html_inline" not in {
            token_part.type for token in reader.parse(shown[0]) for token_part in token.children or ()
        }


# ------------------------------------------------------------------ the terminal


def test_cells_of_data(names: list[str]) -> None:
    """On one line of at most 80 characters, with as much of the cell as fits."""
    for name in [*names, *(name * 90 for name in names)]:
        shown = quoting.cell(name)
        assert len(shown) <= quoting.CELL == 80
        assert plain(shown)
        escaped_name = quoting.escaped(name)
        assert shown == escaped_name or (
            len(escaped_name) > 80 and shown.endswith("...") and escaped_name.startswith(shown[:-3])
        )
    assert quoting.cell(None) == "None"
    assert quoting.cell(10**5000) == "a number of 16,610 bits"


def test_names_in_messages(names: list[str]) -> None:
    def lines(name: str) -> list[str]:
        text = f"let a = 1  # {name}".replace("\n", " ")
        span = Span(Source(name or "m.net", text), 4, 5)
        message = Diagnostic(
            "E0801", f"cannot read `{name}`", Label(span, f"x{name}"), (Label(span, f"y{name}"),), f"z{name}"
        )
        return message.render().split("\n")

    calm = lines("name")
    for name in names:
        texts = lines(name)
        assert len(texts) == len(calm), repr(name)
        assert all(plain(line.replace("\t", "")) for line in texts)


def test_pieces_are_hostile() -> None:
    """The names contain the delimiters of each language, and there are many names."""
    assert {'"""', "-->", "</script>", "\r", "\u2028", "$\\frac{$", "\ud800"} <= set(PIECES)
    assert len(set(hostile_names(2000, SEED))) == 2000
    assert not Path("PWNED").exists()
