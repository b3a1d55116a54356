"""Texts of any length: chains of any length work, and a text that is nested too deeply or too large is a message."""

import random

import numpy as np
import pytest

import netc
from netc.compiler.elaborate import context as elaboration
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.ir.graph import print_graph
from netc.compiler.ir.results import parse_result
from netc.dsl import limits, syntax
from netc.dsl import parser as parser_module
from netc.dsl.parser import parse
from netc.dsl.printer import expression, print_file
from netc.dsl.source import Source
from netc.editor.analysis import Analysis, Counts
from netc.runtime.data.block.constant_values import constant_value

LONG = 1_200  # more than Python's limit of recursion


def model(output: str, before: str = "") -> str:
    return f"{before}model {{\n  input x: float[4]\n  output y = {output}\n}}\n"


def parsed(text: str) -> syntax.File:
    return parse(Source("m.net", text))


def codes(text: str) -> list[str]:
    """The codes of all faults of a text, in parsing or in elaboration."""
    try:
        elaborate(parsed(text))
    except netc.Fault as fault:
        return [diagnostic.code for diagnostic in fault.diagnostics]
    return []


CHAINS = {
    "sum": " + ".join(["x"] * LONG),
    "pipe": "x" + " -> relu" * LONG,
    "blocks": "x" + " -> f" * LONG,
    "products and sums": " + ".join(["x * 0.5"] * (LONG // 2)),
    "conditions": "x if c == 0 else " * LONG + "x",
    "slices": "x" + "[:]" * LONG,
    "booleans": "(x if " + " or ".join(["false"] * LONG) + " else x)",
    "calls of calls": "dense(4)" + "(x)",
    "arguments": f"concat({', '.join(['x'] * LONG)})",
    "numbers": f"x + sum([{', '.join(['1'] * LONG)}])",
    "in brackets": "((" + " - ".join(["x"] * LONG) + ") -> relu)" + " -> tanh" * LONG,
}


@pytest.mark.parametrize("kind", CHAINS)
def test_chains_of_any_length(kind: str) -> None:
    """They parse, print to the same tree, elaborate, and an editor binds their names."""
    text = model(CHAINS[kind], "let c = 1\nblock f(x: float[n]) { return x + 1 }\n")
    file = parsed(text)
    assert parsed(print_file(file)) == file
    assert hash(file.items[-1]) == hash(parsed(print_file(file)).items[-1])
    assert parsed(text.replace("x", "z", text.count("x") - 1)) != file
    assert parse_result("output.y") in elaborate(file).graph.results
    analysis = Analysis(text, None, Counts())
    assert analysis.diagnostics == ()
    assert next(symbol for symbol in analysis.names.symbols if symbol.name == "x" and symbol.kind == "input").uses


def random_sum(draw: random.Random, terms: int) -> tuple[str, int]:
    """A sum of numbers, some of them products or in brackets, and its value in Python."""
    text, total = "7", 7
    for _ in range(terms):
        term = draw.choice(["{}", "{} * {}", "({} - {})", "-{}", "({} + {}) * {}", "{} // 3", "{} % 4"])
        term, sign = term.format(*(draw.randrange(1, 10) for _ in range(3))), draw.choice("+-")
        text, total = f"{text} {sign} {term}", total + (eval(term) if sign == "+" else -eval(term))
    return text, total


@pytest.mark.parametrize("terms", [5, 40, 1_500])
def test_long_constants_have_the_value_of_python(terms: int) -> None:
    draw = random.Random(terms)
    for _ in range(20 if terms < 100 else 2):
        text, total = random_sum(draw, terms)
        assert elaborate(parsed(model("x", f"let n = {text}\n"))).constants["n"] == total
        node = parsed(f"let n = {text}\n").items[0].value
        assert constant_value(node, {}) == total
        assert expression(node).replace(" ", "") == text.replace(" ", "")


def test_long_constants_in_the_data_block() -> None:
    node = parsed("let n = [1, [2 + a, -(3)], (4 - 1) * 2]\n").items[0].value
    assert constant_value(node, {"a": 5}) == (1, (7, -3), 6)
    with pytest.raises(netc.Fault, match="this must be a number or a text"):
        constant_value(parsed("let n = 1 + f(2)\n").items[0].value, {})


@pytest.mark.parametrize("links", [["-> f", "-> relu", "-> f(2)", "-> g"], ["+ f(x)", "- relu(x) * 2", "+ g(x -> f)"]])
@pytest.mark.parametrize("times", [1, 5, 60])
def test_a_long_chain_equals_its_links_on_separate_lines(links: list[str], times: int) -> None:
    """The graphs are the same, value by value."""
    before = "block f(x: float[n], k = 1) { return x + k }\nop g(a) = a * a + a\n"
    chain = " ".join(["x", *(links * times)])
    lines = "\n  ".join(["h = x", *(f"h = h {link}" for link in links * times)])
    step_by_step = model("h", before).replace("  output", f"  {lines}\n  output")
    assert graph_text(model(chain, before)) == graph_text(step_by_step)


def graph_text(text: str) -> list[str]:
    """The printed graph of a text, without source locations."""
    return [line.split("  #")[0] for line in print_graph(elaborate(parsed(text)).graph).splitlines()]


def test_a_chain_within_a_block_that_applies_itself() -> None:
    """The values that a chain has computed belong to one application of its block."""
    links = " + x" * 40
    before = (
        f"block f(x: float[n], k) {{ return (x if k == 0 else g(k){links} -> f(k - 1)) }}\n"
        f"block g(k) {{ return k * 2 }}\n"
    )
    short = before.replace(links, " + 40 * x")
    model_of = {
        name: netc.Program(netc.parse(model("x -> f(3)", definition)))
        for name, definition in (("long", before), ("short", short))
    }
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    long, short_one = (program.predict({"x": x})["y"] for program in model_of.values())
    np.testing.assert_allclose(long, short_one, rtol=1e-5)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("(", ")"), ("[", "]"), ("-", ""), ("not ", ""), ("f(", ")"), ("(1, ", ")"), ("x[", "]"), ("2 ** ", "")],
)
def test_nesting_has_a_limit(opening: str, closing: str) -> None:
    """A text at the limit parses and prints. One level more is a message at that level."""
    for levels in (1, limits.MOST_LEVELS):
        file = parsed(f"let n = {opening * levels}1{closing * levels}\n")
        assert parsed(print_file(file)) == file
    deeper = limits.MOST_LEVELS + 1
    for levels in (deeper, 3_000):
        with pytest.raises(netc.Fault) as fault:
            parsed(f"let n = {opening * levels}1{closing * levels}\n")
        (diagnostic,) = fault.value.diagnostics
        assert diagnostic.code == "E0106"
        assert abs(diagnostic.primary.span.start - len(f"let n = {opening * deeper}")) <= 2 * len(opening)


def test_braces_have_a_limit() -> None:
    def nested(levels: int) -> str:
        return (
            "model {\n  input x: float[4]\n  h = x\n"
            + "for i in 0..1 {\n" * levels
            + "h = h + 1\n"
            + "}\n" * levels
            + "output y = h\n}\n"
        )

    file = parsed(nested(limits.MOST_BODIES - 1))
    assert parsed(print_file(file)) == file
    assert codes(nested(limits.MOST_BODIES - 1)) == []
    for levels in (limits.MOST_BODIES, 2_000):
        with pytest.raises(netc.Fault, match="braces are nested more than 40 levels deep") as fault:
            parsed(nested(levels))
        assert fault.value.diagnostics[0].primary.span.line == 3 + limits.MOST_BODIES


def test_scans_in_scans_have_a_limit() -> None:
    body = "s0"
    for level in range(limits.MOST_BODIES - 1):
        body = f"scan s{level} in x {{\nyield {body}\n}}"
    assert "E0106" not in codes(f"model {{\n  input x: float[t, 4]\n  z = {body}\n  output y = x\n}}\n")
    deeper = f"scan s in x {{\nyield {body}\n}}"
    assert codes(f"model {{\n  input x: float[t, 4]\n  z = {deeper}\n  output y = x\n}}\n") == ["E0106"]


def test_levels_through_blocks() -> None:
    """Nested expressions in nested blocks, within the limits of both, give a right graph or a message, on any stack."""
    for brackets, times, expected in ((1, 60, []), (20, 60, []), (150, 10, []), (150, 60, ["E0206"])):
        inner = "(" * brackets + "f(x, k - 1)" + ")" * brackets
        assert (
            codes(model(f"f(x, {times})", f"block f(x: float[n], k) {{ return x if k == 0 else {inner} + 1 }}\n"))
            == expected
        )


@pytest.mark.parametrize(
    ("number", "is_right"),
    [
        ("9223372036854775807", True),
        ("9_223_372_036_854_775_807", True),
        ("9223372036854775808", False),
        ("9_223_372_036_854_775_808", False),
        ("9" * 400, False),
        ("9" * 5_000, False),
        ("0" * 5_000 + "7", True),
        ("1e308", True),
        ("1e309", False),
        ("1." + "0" * 5_000, True),
        ("9" * 5_000 + ".5", False),
        ("1e" + "9" * 5_000, False),
        ("1e-" + "9" * 5_000, True),
    ],
)
def test_numbers_have_64_bits(number: str, is_right: bool) -> None:
    for text in (
        f"let n = {number}\nmodel {{\n  input x: float[2]\n  output y = x\n}}\n",
        model(f"x * {number}"),
        model(f"x -> dense({number})"),
    ):
        expected = codes(text)
        assert (expected == ["E0107"]) != is_right or expected == ["E0304"], (
            "a dimension that is not a whole number is another fault"
        )
        if not is_right:
            with pytest.raises(netc.Fault) as fault:
                parsed(text)
            assert fault.value.diagnostics[0].primary.span.text == number


def test_computed_and_set_numbers_have_64_bits() -> None:
    for text, expected in (
        ("2 ** 62 + (2 ** 62 - 1)", []),
        ("2 ** 62 + 2 ** 62", ["E0304"]),
        ("-(2 ** 62) * 4", ["E0304"]),
        ("10 ** 400", ["E0304"]),
        ("10.0 ** 20", []),
        ("1e308 * 10", ["E0304"]),
    ):
        assert codes(model("x", f"let n = {text}\n")) == expected, text
    text = parsed(model("x -> dense(n)", "let n = 3\n"))
    for number in (10**30, -(10**400), float("inf"), float("nan")):
        with pytest.raises(netc.Fault) as fault:
            elaborate(text, {"n": number})
        assert [diagnostic.code for diagnostic in fault.value.diagnostics] == ["E0107"]


def test_all_numbers_that_are_too_large_are_reported() -> None:
    with pytest.raises(netc.Fault) as fault:
        parsed("let a = 1e999\nlet b = [1e999, " + "9" * 30 + "]\n")
    assert [diagnostic.primary.span.line for diagnostic in fault.value.diagnostics] == [1, 2, 2]


def test_a_file_has_a_limit_on_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    text = model(" + ".join(["x"] * 50))
    monkeypatch.setattr(parser_module, "MOST_WORDS", 60)
    with pytest.raises(netc.Fault, match=r"the file has more than 100,000 words and symbols") as fault:
        parsed(text)
    assert fault.value.diagnostics[0].code == "E0206"
    assert fault.value.diagnostics[0].primary.span.line == 3


def test_a_model_has_a_limit_on_its_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elaboration, "MOST_OPERATIONS", 100)
    for output in (" + ".join(["x"] * 102), "x" + " -> relu" * 102, f"x + sum([{', '.join(['1'] * 102)}])"):
        assert codes(model(output)) == ["E0206"]
    assert codes(model(" + ".join(["x"] * 100))) == []


def test_errors_have_a_limit() -> None:
    """Each error compares its name with all others, so netc stops after a number of errors."""
    lines = "\n".join(f"  h{i} = z{i}" for i in range(5_000))
    assert codes(f"model {{\n  input x: float[4]\n{lines}\n  output y = x\n}}\n") == ["E0201"] * 100


def test_imports_have_a_limit(tmp_path) -> None:
    for i in range(200):
        (tmp_path / f"m{i}.net").write_text(f'import "m{i + 1}.net"\nblock b{i}(x) {{ return x }}\n', encoding="utf-8")
    (tmp_path / "m200.net").write_text("block last(x) { return x }\n", encoding="utf-8")
    (tmp_path / "main.net").write_text(
        'import "m0.net"\nmodel {\n  input x: float[2]\n  output y = x\n}\n', encoding="utf-8"
    )
    with pytest.raises(netc.Fault, match="imports lead through more than 50 files"):
        netc.load(tmp_path / "main.net")
    (tmp_path / "main.net").write_text(
        'import "m160.net"\nmodel {\n  input x: float[2]\n  output y = last(x)\n}\n', encoding="utf-8"
    )
    netc.load(tmp_path / "main.net")


def test_mistakes_in_long_texts_are_found_quickly() -> None:
    """No pattern tries every character, or every way to match."""
    for text, message in (
        ("model {\n  h = a +" + "\n" * 300 + "  b\n  g = a +\n  output q\n}\n", "E0101"),
        ("model {\n  h = " + "9" * 100_000 + " 9\n}\n", "E0101"),
        ("model {\n  h = " + "9" * 100_000 + ".1.1\n}\n", "E0101"),
        ("model {\n  h = " + "if " * 30_000 + "\n  g = x = 3\n}\n", "E0101"),
    ):
        with pytest.raises(netc.Fault) as fault:
            parsed(text)
        assert fault.value.diagnostics[0].code == message


def test_long_comments_and_many_empty_lines() -> None:
    lines = "".join(f"  # {i}\n\n  h{i} = x  # {i}\n" for i in range(2_000))
    text = f"model {{\n  input x: float[4]\n{lines}  output y = x\n}}\n"
    assert print_file(parsed(text)) == text
