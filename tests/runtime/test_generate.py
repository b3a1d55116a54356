"""Generating text: a model that is stepped with its states predicts the same as on the whole sequence.

A model that reads later steps is refused.
"""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from support import command

import netc
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.operations.linear import Subscripts
from netc.compiler.passes.stepping.step import stepping
from netc.compiler.pipeline import steppable_graph
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.inference.next_token import token_names
from netc.runtime.runs.generate import Generator, draw, generate
from netc.runtime.runs.run import Run

TEXT = "the cat sat on the mat. the dog sat on the log. " * 30
MODELS = {
    "an LSTM": "e -> lstm(8)",
    "two layers": "e -> gru(6) -> layernorm -> lstm(7)",
    "what was before": "e + shift(e) -> rnn(6)",
    "the first step": "e * e[0] -> rnn(5)",
    "all steps": "e[0:] -> rnn(5)",
    "noise": "(e * uniform_like(e) + normal_like(e[0])) -> gru(5)",
    "a scan of one's own": "slow(e)",
    "nothing but the token": "e -> dense(8) -> relu",
    "a step's number": "concat(e, shift(e, first = 1), over = -1) -> rnn(5)",
    "causal convolutions": "e -> conv(6, pad = causal) -> relu -> conv(8, kernel = 2, dilation = 3, pad = causal)",
    "a mean of the last steps": "e -> avgpool(4, stride = 1, pad = causal)",
    "causal attention": "e -> dense(6) -> positions -> self_attention(2, true)",
}
REFUSED = {
    "both ways": "e -> bidirectional(gru(4))",
    "reversed": "reverse(e) -> gru(4)",
    "a mean of all steps": "e - mean(e, over = time)",
    "the second step": "e * e[1]",
    "the last step": "e * last(e)",
    "softmax along time": "softmax(e, over = time)",
    "attention": "e -> self_attention",
    "a convolution": "e -> conv(6)",
}
BLOCK = """block slow(x: float[t, n]) {
  s = scan xt in x with h = zeros(n), k = 1 {
    k = k / 2
    h = h * (1 - k) + xt * k
    yield h, k
  }
  return s
}
"""


def trained(folder: Path, statement: str) -> Run:
    (folder / "t.txt").write_text(TEXT, encoding="utf-8")
    (folder / "m.net").write_text(
        'data {\n  source = text("t.txt")\n  letter = field("text") -> characters -> vocabulary -> window(20, 5)\n'
        '  following = field("text") -> characters -> vocabulary -> next(1) -> window(20, 5)\n'
        "  split = (train = 0.8, test = 0.2)\n}\n"
        f"{BLOCK}model {{\n  input letter: class(auto)[time <= 20]\n  target following: class(auto)[time]\n"
        f"  e = letter -> embed(5)\n  h = {statement.replace('e + shift(e) ->', '(e + shift(e)) ->')}\n"
        "  z = h -> dense(size(following))\n"
        "  output likely = softmax(z)\n  loss cross_entropy(z, following)\n}\n"
        "train {\n  optimizer = adam(lr = 0.02)\n  batch = 32\n  epochs = 3\n  precision = f64\n}\n",
        encoding="utf-8",
    )
    return netc.train(netc.load(folder / "m.net"), out=folder / "run")


@pytest.mark.parametrize("name", MODELS)
def test_stepping_predicts_the_same_as_the_whole_sequence(tmp_path: Path, name: str) -> None:
    run = trained(tmp_path, MODELS[name])
    model = Generator(run)
    codes = np.array([model.tokens.index(letter) for letter in "the mat sat on"], np.int32)
    likely = run.program.predict({"letter": [codes]})["likely"][0]
    np.testing.assert_allclose([model.next(int(code)) for code in codes], likely, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_reads_later_steps_is_refused(tmp_path: Path, name: str) -> None:
    run = trained(tmp_path, REFUSED[name])
    with pytest.raises(netc.Fault, match="E0506"):
        Generator(run)


def test_a_text_is_continued(tmp_path: Path) -> None:
    run = trained(tmp_path, MODELS["an LSTM"])
    first, again, other = ("".join(generate(run, "the ", 40, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 40
    assert "<" not in first, "what stands for unknown tokens is never drawn"
    likeliest = "".join(generate(run, "the ", 30, temperature=0))
    assert likeliest == "".join(generate(run, "the ", 30, top_k=1, seed=5))
    assert "".join(generate(run, "the ", 200, stop=".")).endswith(".")
    assert "".join(generate(run, "THE \u00e9", 5, seed=1)), "a token that training never saw is the unknown one"
    with pytest.raises(netc.Fault, match=r"at least one token.*\n(.*\n)*.*reads `shift\(letter\)` can begin"):
        next(generate(run, "", 5))


NAMES = ("emma", "anna", "otto", "hannah", "bob")


def of_names(folder: Path, reads: str, ends: str = "-> ends ", bound: str = "t") -> Run:
    """A run that learns names by heart; `reads` is what its model reads."""
    (folder / "names.csv").write_text("name\n" + "".join(f"{name}\n" for name in NAMES * 40), encoding="utf-8")
    (folder / "n.net").write_text(
        f'data {{\n  source = csv("names.csv")\n  name = column("name") -> characters {ends}-> vocabulary\n'
        "  split = (train = 0.8, test = 0.2)\n}\n"
        f"model {{\n  input name: class(auto)[{bound}]\n  z = {reads} -> dense(size(name))\n"
        "  output likely = softmax(z)\n  loss cross_entropy(z, name)\n}\n"
        "train {\n  optimizer = adam(lr = 0.02)\n  batch = 16\n  epochs = 30\n  precision = f64\n}\n",
        encoding="utf-8",
    )
    return netc.train(netc.load(folder / "n.net"), out=folder / "names")


SHIFTED = {
    "the input": "shift(name) -> embed(8) -> lstm(24)",
    "its embedding": "shift(name -> embed(8)) -> lstm(24)",
    "after a layer": "shift(name -> embed(8) -> lstm(24)) -> dense(24) -> tanh",
    "causal attention": "shift(name) -> embed(8) -> positions -> self_attention(2, true)",
}


@pytest.mark.parametrize("reads", SHIFTED)
def test_a_model_that_reads_earlier_tokens_alone_predicts_the_next_one(tmp_path: Path, reads: str) -> None:
    """Its scores of the token after a prompt are those at the step of that token, which it does not read."""
    run = of_names(tmp_path, SHIFTED[reads])
    model = Generator(run)
    codes = np.array([model.tokens.index(letter) for letter in "hannah"], np.int32)
    likely = run.program.predict({"name": [codes]})["likely"][0]
    stepped = [model.first(), *(model.next(int(code)) for code in codes[:-1])]
    np.testing.assert_allclose(stepped, likely, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("reads", SHIFTED)
def test_no_part_of_a_step_is_computed_twice(reads: str) -> None:
    """The output is computed before the token is drawn, and what the token decides after it."""
    lines = ("input name: class(9)[t <= 8]", f"z = {SHIFTED[reads]} -> dense(9)", "output likely = softmax(z)")
    graph = steppable_graph(netc.parse("model {\n" + "\n".join(lines) + "\n}"))
    name, output = token_names(graph)
    step = stepping(graph.only(output), "t", 8)
    early, late = step.divided(name, output)
    assert {*early.results} | {*late.results} == {*step.graph.results}
    assert name not in {leaf.name for leaf in early.values(Role.INPUT)}

    def costly(part: Graph) -> list[str]:
        return sorted(value.operation for value in part.values() if isinstance(value.attributes, Subscripts))

    assert sorted(costly(early) + costly(late)) == costly(step.graph)


def test_a_text_ends_where_the_model_ends_it(tmp_path: Path) -> None:
    run = of_names(tmp_path, SHIFTED["the input"])
    assert "".join(generate(run, "em", 40, temperature=0)) == "ma"
    sequence = {"".join(generate(run, "", 40, temperature=0.3, seed=seed)) for seed in range(8)}
    assert sequence <= {*NAMES}
    assert len(sequence) > 1
    done = command("generate", run.folder, "--temperature", 0, cwd=tmp_path)
    assert done.stdout.strip() in NAMES, done.stderr


def test_a_text_beyond_the_bound_is_continued_from_earlier_tokens_alone(tmp_path: Path) -> None:
    run = of_names(tmp_path, SHIFTED["causal attention"], ends="", bound="t <= 8")
    assert len("".join(generate(run, "", 30))) == 30


def test_training_meanwhile_shows_in_the_next_token(tmp_path: Path) -> None:
    run = netc.open(trained(tmp_path, MODELS["an LSTM"]).folder)
    model, other = Generator(run), Generator(run)
    assert (model.next(3) == other.next(3)).all()
    before = other.next(4)
    letters = np.arange(1, 9, dtype=np.int32)
    run.program.step({"letter": [letters], "following": [letters]})
    assert (model.next(4) != before).any()


def test_a_text_longer_than_what_attention_sees_is_continued(tmp_path: Path) -> None:
    run = trained(tmp_path, "gru(e, 6) -> self_attention(2, true)")
    text = "".join(generate(run, "the ", 50, seed=4))
    assert len(text) == 50, "the model attends to at most 20 letters"
    done = command("generate", run.folder, "--prompt", "the ", "--length", 50, "--seed", 4, cwd=tmp_path)
    assert done.stdout == f"the {text}\n", done.stderr
    assert not done.stderr
    noted = command("generate", run.folder, "--prompt", "the \u2603\u2603 X", "--length", 1, cwd=tmp_path)
    assert noted.stderr == 'note: outside of the vocabulary: "\u2603", "X"\n'


def test_tokens_are_drawn_by_their_probabilities() -> None:
    chances = np.array([0.5, 0.1, 0.3, 0.1])
    assert [draw(chances, 1.0, 0, x) for x in (0.0, 0.19, 0.21, 0.79, 0.81, 0.9999)] == [1, 1, 2, 2, 3, 3]
    assert draw(np.log(chances) + 7, 1.0, 0, 0.5) == 2, "logits too"
    assert {draw(chances, 1.0, 1, x) for x in np.linspace(0, 0.99, 20)} == {2}
    assert draw(chances, 0, 0, 0.9) == 2


def test_any_temperature_draws_tokens_that_are_possible() -> None:
    chances = np.array([0.5, 0.1, 0.3, 0.1])
    drawn = (0.0, 0.32, 0.34, 0.65, 0.67, 0.9999)
    with np.errstate(invalid="raise", over="raise"):
        assert [draw(chances, np.inf, 0, x) for x in drawn] == [1, 1, 2, 2, 3, 3], "all are equally likely"
        assert {draw(chances, np.inf, 1, x) for x in drawn} == {2}
        for least in (5e-324, 1e-300):
            assert {draw(chances, least, 0, x) for x in drawn} == {2}


def test_a_prediction_of_sequences_is_json(tmp_path: Path) -> None:
    run = trained(tmp_path, MODELS["an LSTM"])
    done = command("predict", run.folder, tmp_path / "t.txt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == (len(TEXT) - 20) // 5 + 1
    letters, chances = (json.loads(rows[0][name]) for name in ("following", "likely"))
    tokens = Generator(run).tokens
    assert letters == [tokens[int(np.argmax(row))] for row in chances]
    assert np.allclose(np.sum(chances, axis=1), 1)
    (tmp_path / "short.txt").write_text("the cat", encoding="utf-8")
    short = command("predict", run.folder, tmp_path / "short.txt", cwd=tmp_path)
    assert "short.txt` has 7 rows, and a window reaches over 20\n" in short.stderr
    assert "`netc generate` continues a short text" in short.stderr
    assert command("report", run.folder, cwd=tmp_path).returncode == 0
    assert command("eval", run.folder, cwd=tmp_path).returncode == 0


WITHOUT_TEXT = {
    "a fixed length": (
        "input letter: class(9)[4]\n  output z = letter -> embed(3) -> dense(9)",
        "`letter` has the fixed length 4",
        "write `input letter: class(9)[t]`",
    ),
    "numbers": (
        "input pixels: float[4]\n  output z = pixels -> dense(9)",
        "`pixels` is float[4]",
        "it needs one input that is a text",
    ),
    "two inputs": (
        "input letter: class(9)[t]\n  input style: class(3)\n  output z = letter -> embed(3) -> dense(9)\n"
        "  output s = style -> embed(3)",
        "it has 2 inputs",
        "it needs one input that is a text",
    ),
    "an output of one step": (
        "input letter: class(9)[t]\n  output z = letter -> embed(3) -> mean(over = t) -> dense(9)",
        "the output `z` is float[9]",
        "it needs one output float[t, 9]",
    ),
}


@pytest.mark.parametrize("name", WITHOUT_TEXT)
def test_a_refusal_says_what_is_missing(name: str) -> None:
    text, label, hint = WITHOUT_TEXT[name]
    graph = elaborate(parse(Source("m.net", f"model {{\n  {text}\n}}\n"))).graph
    with pytest.raises(netc.Fault) as caught:
        token_names(graph)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0506"
    assert diagnostic.primary.text == label
    assert (diagnostic.hint or "").startswith(hint)
