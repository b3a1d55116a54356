"""Attention along dimensions whose bound is not declared: memory follows the batch, and any length can come later.

Models are verified in all ways that must agree (interpreted before and after each pass, by finite differences, as an
emulated plan, compiled, on several threads), and one is used from end to end.
"""

from pathlib import Path

import numpy as np
import pytest
from support import command, run

import netc
from netc.compiler.ir.graph import Graph
from netc.compiler.pipeline import gradient_graph, training_graph
from netc.compiler.targets.named import NAMED
from netc.runtime.execution.step_cost import step_memory
from netc.runtime.runs.generate import Generator, generate
from netc.runtime.runs.run import Run
from netc.runtime.verification import verify
from netc.runtime.verification.sampling import sampled

LENGTHS = tuple(range(1, 41))
# z: float[time, 6], of x: float[time, 6] and k: float[s, 6]
ATTENDING = {
    "of itself": "z = x -> self_attention(heads = 2)",
    "causal, of positions": "z = x -> positions -> self_attention(heads = 3, causal = true) -> layernorm",
    "to another sequence": "z = attention(x, k, k, heads = 2) + (x -> dense(6))",
    "values that are computed": "z = attention(x, k, tanh(k -> dense(6)), heads = 2)",
    "by hand": "q = x -> dense(6)\n  z = softmax(q @ transpose(k) / 3) @ k",
    "between recurrent layers": "z = x -> gru(6) -> self_attention(2, true) -> gru(6)",
    "fixed queries": (
        "param Q: float[4, 6] = normal(1)\n  z = x * (attention(Q, k, k, heads = 2) -> flatten -> dense(6))"
    ),
    "half of the steps": "h = maxpool(x)\n  z = attention(x -> dense(6), h, h)",
    "a single query": "z = x + attention(mean(x, over = time) -> dense(6), k, k, heads = 3)",
    "a sample's queries": (
        "Q = reshape(mean(x, over = time) -> dense(12), 2, 6)\n  z = x + mean(attention(Q, k, k), over = 0)"
    ),
}


def text_of(statement: str, precision: str = "f32", batch: int = 7, bound: str = "") -> str:
    return (
        f"model {{\n  input x: float[time{bound}, 6]\n  input k: float[s{bound}, 6]\n  target y: float[time, 6]\n"
        f"  {statement}\n  output p = z\n  loss mse(z, y)\n}}\n"
        f"train {{\n  precision = {precision}\n  batch = {batch}\n}}\n"
    )


def operations(graph: Graph) -> list[str]:
    return [value.operation for value in graph.values()]


@pytest.mark.every(3)
@pytest.mark.parametrize("precision", ["f32", "f64", "bf16"])
@pytest.mark.parametrize("name", ATTENDING)
def test_everything_agrees(name: str, precision: str) -> None:
    """Each check of `netc check --verify`: of the passes, of slopes, of plans, of machine code, and of exports."""
    model = netc.parse(text_of(ATTENDING[name], precision))
    assert operations(gradient_graph(model)).count("attend") == 1
    assert [str(difference) for difference in verify(sampled(model).subject)] == []


@pytest.mark.parametrize("name", ["of itself", "to another sequence"])
def test_bits_do_not_depend_on_the_batch_or_on_threads(name: str) -> None:
    """Samples of 1 to 40 steps, together, alone, and in another order."""
    rng = np.random.default_rng(3)
    x, k = ([rng.standard_normal((n, 6)).astype(np.float32) for n in lengths] for lengths in (LENGTHS, LENGTHS[::-1]))
    y = [rng.standard_normal((n, 6)).astype(np.float32) for n in LENGTHS]
    text = text_of(ATTENDING[name], batch=40)
    one, two = run(text), run(text, threads=2)
    together = one.predict({"x": x, "k": k})["p"]
    order = rng.permutation(len(LENGTHS))
    shuffled = two.predict({"x": [x[i] for i in order], "k": [k[i] for i in order]})["p"]
    for place, i in enumerate(order):
        np.testing.assert_array_equal(shuffled[place], together[i])
        np.testing.assert_array_equal(one.predict({"x": [x[i]], "k": [k[i]]})["p"][0], together[i])
    fields = {"x": x, "k": k, "y": y}
    gradients, again = one.gradients(fields)[1], two.gradients(fields)[1]
    one.predict({"x": [rng.standard_normal((300, 6))], "k": [rng.standard_normal((200, 6))]})
    for key, gradient in one.gradients(fields)[1].items():
        np.testing.assert_array_equal(gradient, gradients[key])
        np.testing.assert_array_equal(gradient, again[key])


def test_memory_follows_the_batch_and_not_the_bound() -> None:
    """Memory is the same with a large bound and without one, and grows with the length."""
    free, bounded = (netc.parse(text_of(ATTENDING["of itself"], bound=bound)) for bound in ("", " <= 4096"))
    needed = {
        steps: [sum(step_memory(model, 1, {"time": steps, "s": 1}, False, NAMED["avx2"])) for model in (free, bounded)]
        for steps in (64, 128, 256)
    }
    assert all(own == other for own, other in needed.values())
    first, second, third = (own for own, _ in needed.values())
    assert third - second <= 2.1 * (second - first)
    assert not any(value.type.is_held for value in training_graph(free).values())


TEXT = "the cat sat on the mat. the dog sat on the log. " * 40


def trained(folder: Path, epochs: int) -> Run:
    (folder / "t.txt").write_text(TEXT, encoding="utf-8")
    (folder / "m.net").write_text(
        'data {\n  source = text("t.txt")\n  letter = field("text") -> characters -> vocabulary -> window(20, 5)\n'
        '  following = field("text") -> characters -> vocabulary -> next(1) -> window(20, 5)\n'
        "  split = (train = 0.8, test = 0.2)\n}\n"
        "model {\n  input letter: class(auto)[time]\n  target following: class(auto)[time]\n"
        "  h = letter -> embed(6) -> positions -> self_attention(2, causal = true)\n"
        "  z = h -> dense(size(following))\n"
        "  output likely = softmax(z)\n  loss cross_entropy(z, following)\n}\n"
        f"train {{\n  optimizer = adam(lr = 0.02)\n  batch = 32\n  epochs = {epochs}\n  precision = f64\n}}\n",
        encoding="utf-8",
    )
    return netc.train(netc.load(folder / "m.net"), out=folder / "run")


def test_a_model_is_trained_resumed_and_used_on_longer_sequences(tmp_path: Path) -> None:
    trained(tmp_path, 2)
    text = (tmp_path / "m.net").read_text(encoding="utf-8").replace("epochs = 2", "epochs = 4")
    whole = tmp_path / "whole"
    whole.mkdir()
    expected = trained(whole, 4).program.parameters
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    done = command("check", "m.net", cwd=tmp_path)
    assert "a step of 32 samples (time = 20): " in done.stdout, "as long as the data's samples"
    done = command("train", "m.net", "--resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    resumed = netc.open(tmp_path / "run")
    for name, array in resumed.program.parameters.items():
        np.testing.assert_array_equal(array, expected[name])
    model = Generator(resumed)
    codes = np.array([model.tokens.index(letter) for letter in TEXT[:90]], np.int32)
    likely = resumed.program.predict({"letter": [codes, codes[:7]]})["likely"]
    np.testing.assert_allclose([model.next(int(code)) for code in codes], likely[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(likely[1], likely[0][:7])
    assert len("".join(generate(resumed, "the ", 700, seed=4))) == 700, "more letters than the first histories hold"
    for file in ("model.onnx", "model.py"):
        done = command("export", "run", "-o", file, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    done = command("predict", "run", "t.txt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_what_else_needs_a_bound_says_so() -> None:
    """Weights that are read by something else than the sum of values stay in memory, and need the bound."""
    hand = "w = softmax((x -> dense(6)) @ transpose(k))\n  z = w @ k + unsqueeze(max(w, over = s))"
    with pytest.raises(netc.Fault, match="how long `time` is at most must be known here"):
        netc.parse(text_of(hand))
    assert netc.parse(text_of(hand, bound=" <= 40")).bounds == {"time": 40, "s": 40}


def test_a_named_value_that_is_held_cannot_be_asked_for() -> None:
    program = run(text_of("scores = (x -> dense(6)) @ transpose(k)\n  z = softmax(scores) @ k"))
    x = [np.zeros((3, 6), np.float32)]
    assert program.predict({"x": x, "k": x})["p"][0].shape == (3, 6)
    with pytest.raises(ValueError, match="two varying dimensions"):
        program.predict({"x": x, "k": x}, outputs=["scores"])
