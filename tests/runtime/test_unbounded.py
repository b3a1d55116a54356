"""Dimensions whose bound is not declared: attention reads packed rows, other values are stored at the longest sample of
the data, and any length can come later.

Models are verified in all ways that must agree (interpreted before and after each pass, by finite differences, as an
emulated plan, compiled, on several threads), and one is used from end to end.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from support import command, run

import netc
from netc.compiler.backends import Backend
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.pipeline import gradient_graph, steppable_graph, training_graph
from netc.compiler.targets.named import NAMED
from netc.runtime.execution.step_cost import step_memory
from netc.runtime.inference.stepper import Stepped, Stepper
from netc.runtime.runs.generate import Generator, generate
from netc.runtime.runs.run import Run
from netc.runtime.verification import CHECKS, verify
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
# the same, where values are stored at the bound that the data needs
STORED = {
    "weights that are read elsewhere": (
        "w = softmax((x -> dense(6)) @ transpose(k))\n  z = w @ k + unsqueeze(max(w, over = s))"
    ),
    "a mask of its own": (
        "near = abs(arange(time) - unsqueeze(arange(time))) < 3\n  q = x -> dense(6)\n"
        "  z = softmax(where(near, q @ transpose(x), -1e30)) @ x"
    ),
    "half of the steps": "h = maxpool(x)\n  w = softmax((x -> dense(6)) @ transpose(h))\n  z = w ** 2 @ h",
    "a derivative": (
        "q = x -> dense(6)\n  u = sum(softmax(q @ transpose(k)) @ k, over = 0) -> sum\n  z = grad(u, x) + x"
    ),
    "a scan that reads a sequence": (
        "layer f = dense(6)\n  z = scan xt in x with h = zeros(6) {\n    h = tanh(f(xt) + attention(h, k, k))\n"
        "    yield h\n  }"
    ),
    "products of all pairs": "z = (x -> dense(6)) * unsqueeze(mean((x @ transpose(k)) ** 2, over = 1))",
}


def text_of(statement: str, precision: str = "f32", batch: int = 7, bound: str = "") -> str:
    return (
        f"model {{\n  input x: float[time{bound}, 6]\n  input k: float[s{bound}, 6]\n  target y: float[time, 6]\n"
        f"  {statement}\n  output p = z\n  loss mse(z, y)\n}}\n"
        f"train {{\n  precision = {precision}\n  batch = {batch}\n}}\n"
    )


def operations(graph: Graph) -> list[str]:
    return [value.operation for value in graph.values()]


def in_turns(names: Iterable[str], *precisions: str) -> list[tuple[int, str, str]]:
    """All pairs, numbered by their names. The first pairs of every second name have all precisions."""
    return [
        (number, name, precisions[(number // 2 + i) % len(precisions)])
        for number, name in enumerate(names)
        for i in range(len(precisions))
    ]


def checks_of(number: int, is_long: bool) -> list[str]:
    """Each check of `netc check --verify`: of the passes, of slopes, of plans, of machine code, and of exports.

    Without `--long`, a model has every second check, and of two models that are tested one has the others. All are
    checked under the least limit on memory, which does nothing for a model that no limit changes.
    """
    return [*CHECKS] if is_long else [*{*[*CHECKS][(number // 2 + 1) // 2 % 2 :: 2], "memory"}]


@pytest.mark.every(6)
@pytest.mark.parametrize(("number", "name", "precision"), in_turns(ATTENDING, "f32", "f64", "bf16"))
def test_everything_agrees(number: int, name: str, precision: str, is_long: bool) -> None:
    model = netc.parse(text_of(ATTENDING[name], precision))
    assert operations(gradient_graph(model)).count("attend") == 1
    assert [str(difference) for difference in verify(sampled(model).subject, checks_of(number, is_long))] == []


@pytest.mark.every(4)
@pytest.mark.parametrize(("number", "name", "precision"), in_turns(STORED, "f32", "f64"))
def test_everything_agrees_where_values_are_stored_at_a_bound(
    number: int, name: str, precision: str, is_long: bool
) -> None:
    model = netc.parse(text_of(STORED[name], precision))
    assert any(value.type.is_held for value in gradient_graph(model).values())
    assert [str(difference) for difference in verify(sampled(model).subject, checks_of(number, is_long))] == []


def test_every_check_and_precision_is_tested_without_long() -> None:
    for names, precisions in ((ATTENDING, ("f32", "f64", "bf16")), (STORED, ("f32", "f64"))):
        chosen = in_turns(names, *precisions)[:: 2 * len(precisions)]
        assert {precision for _, _, precision in chosen} == {*precisions}
        assert {check for number, _, _ in chosen for check in checks_of(number, is_long=False)} == {*CHECKS}


@pytest.mark.parametrize("random", ["dropout(0.3)", "noisy"])
def test_everything_agrees_where_numbers_are_drawn_for_pairs_of_steps(random: str) -> None:
    """There are as many random numbers as the product of two dimensions, neither of which has a declared bound."""
    noisy = "block noisy(w: float[t, s]) {\n  return w + 0.1 * normal_like(w)\n}\n"
    statement = f"w = softmax((x -> dense(6)) @ transpose(k)) -> {random}\n  z = w @ k"
    model = netc.parse((noisy if random == "noisy" else "") + text_of(statement))
    checks = ["passes", "gradients", "alone", "compiled", "threads"]
    assert [str(difference) for difference in verify(sampled(model).subject, checks)] == []


@pytest.mark.parametrize("name", STORED)
def test_a_bound_that_the_data_needs_computes_what_a_declared_one_does(name: str, backend: Backend) -> None:
    """The longest samples come first, in the middle and last: the memory is that of the data at hand."""
    rng = np.random.default_rng(5)
    free, bounded = (run(text_of(STORED[name], "f64", bound=bound), backend) for bound in ("", " <= 40"))
    for longest in (9, 33, 12):
        lengths = rng.permutation([longest, 3, 2, 7])
        x, k, y = ([rng.standard_normal((n, 6)) for n in steps] for steps in (lengths, lengths[::-1], lengths))
        fields = {"x": x, "k": k, "y": y}
        for mine, other in zip(free.predict(fields)["p"], bounded.predict(fields)["p"], strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-12)
        loss, gradients = free.gradients(fields)
        expected, others = bounded.gradients(fields)
        assert loss == pytest.approx(expected, rel=1e-10)
        for key, gradient in gradients.items():
            np.testing.assert_allclose(gradient, others[key], rtol=1e-8, atol=1e-11, err_msg=key)


@pytest.mark.parametrize(
    "name", ["of itself", "to another sequence", "a mask of its own", "a scan that reads a sequence"]
)
def test_bits_do_not_depend_on_the_batch_or_on_threads(name: str) -> None:
    """Samples of 1 to 40 steps, together, in another order, and alone.

    Where values are stored at the length of the longest sample, it stays beside the other one: a sum of more places may
    be added up in another order.
    """
    rng = np.random.default_rng(3)
    x, k = ([rng.standard_normal((n, 6)).astype(np.float32) for n in lengths] for lengths in (LENGTHS, LENGTHS[::-1]))
    y = [rng.standard_normal((n, 6)).astype(np.float32) for n in LENGTHS]
    text = text_of({**ATTENDING, **STORED}[name], batch=40)
    on_one_thread, on_two_threads = run(text), run(text, threads=2)
    together = on_one_thread.predict({"x": x, "k": k})["p"]
    order = rng.permutation(len(LENGTHS))
    shuffled = on_two_threads.predict({"x": [x[i] for i in order], "k": [k[i] for i in order]})["p"]
    for position, i in enumerate(order):
        np.testing.assert_array_equal(shuffled[position], together[i])
        alone = [i] if name in ATTENDING else [i, 0, len(LENGTHS) - 1]
        again = on_one_thread.predict({"x": [x[j] for j in alone], "k": [k[j] for j in alone]})
        np.testing.assert_array_equal(again["p"][0], together[i])
    fields = {"x": x, "k": k, "y": y}
    gradients, others = on_one_thread.gradients(fields)[1], on_two_threads.gradients(fields)[1]
    on_one_thread.predict({"x": [rng.standard_normal((300, 6))], "k": [rng.standard_normal((200, 6))]})
    for key, gradient in on_one_thread.gradients(fields)[1].items():
        np.testing.assert_array_equal(gradient, gradients[key])
        np.testing.assert_array_equal(gradient, others[key])


def test_memory_follows_the_batch_and_not_the_bound() -> None:
    """Memory is the same with a large bound and without one, and grows with the length."""
    free, bounded = (netc.parse(text_of(ATTENDING["of itself"], bound=bound)) for bound in ("", " <= 4096"))
    needed = {
        steps: [sum(step_memory(model, 1, {"time": steps, "s": 1}, False, NAMED["avx2"])) for model in (free, bounded)]
        for steps in (64, 128, 256)
    }
    assert all(bytes_here == other for bytes_here, other in needed.values())
    first, second, third = (bytes_here for bytes_here, _ in needed.values())
    assert third - second <= 2.1 * (second - first)
    assert not any(value.type.is_held for value in training_graph(free).values())


TEXT = "the cat sat on the mat. the dog sat on the log. " * 40


def trained(folder: Path, epochs: int, scores: str = "  z = h -> dense(size(following))\n") -> Run:
    (folder / "t.txt").write_text(TEXT, encoding="utf-8")
    (folder / "m.net").write_text(
        'data {\n  source = text("t.txt")\n  letter = field("text") -> characters -> vocabulary -> window(20, 5)\n'
        '  following = field("text") -> characters -> vocabulary -> next(1) -> window(20, 5)\n'
        "  split = (train = 0.8, test = 0.2)\n}\n"
        "model {\n  input letter: class(auto)[time]\n  target following: class(auto)[time]\n"
        "  h = letter -> embed(6) -> positions -> self_attention(2, causal = true)\n"
        f"{scores}"
        "  output likely = softmax(z)\n  loss cross_entropy(z, following)\n}\n"
        f"train {{\n  optimizer = adam(lr = 0.02)\n  batch = 32\n  epochs = {epochs}\n  precision = f64\n}}\n",
        encoding="utf-8",
    )
    return netc.train(netc.load(folder / "m.net"), out=folder / "run")


def test_a_model_is_trained_resumed_and_used_on_longer_sequences(tmp_path: Path) -> None:
    trained(tmp_path, 2)
    text = (tmp_path / "m.net").read_text(encoding="utf-8").replace("epochs = 2", "epochs = 4")
    unbroken = tmp_path / "whole"
    unbroken.mkdir()
    expected = trained(unbroken, 4).program.parameters
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


def test_a_text_is_generated_by_a_model_with_a_mask_of_its_own() -> None:
    """Histories grow without end, as no bound is declared."""
    program = run(
        "model {\n  input token: class(7)[time]\n  e = token -> embed(6)\n"
        "  later = arange(time) - unsqueeze(arange(time))\n"
        "  z = softmax(where(later > 0, -1e30, where(later < -2, -1e20, e @ transpose(e)))) @ e\n"
        "  output likely = z -> dense(7) -> softmax\n}\ntrain { precision = f64 }\n"
    )
    tokens = np.random.default_rng(5).integers(0, 7, 150).astype(np.int32)
    likely = program.predict({"token": [tokens]})["likely"][0]
    graph = steppable_graph(program.model)
    stepper = Stepper(program.compiled, Stepped(graph, Result(ResultKind.OUTPUT, "likely"), "token", "time", None))
    np.testing.assert_allclose([stepper.step(token[None])[0] for token in tokens], likely, 1e-10, 1e-12)


def test_a_file_that_would_need_a_bound_is_refused(tmp_path: Path) -> None:
    """An exported file is written once for data of any length; the run itself takes its bound from the data."""
    trained(tmp_path, 1, "  w = softmax(h @ transpose(h))\n  z = w ** 2 @ h -> dense(size(following))\n")
    assert command("predict", "run", "t.txt", cwd=tmp_path).returncode == 0
    for file in ("model.onnx", "model.py"):
        done = command("export", "run", "-o", file, cwd=tmp_path)
        assert done.returncode == 1
        assert "error[E1201]: how long `time` is at most must be known to export this" in done.stderr
        assert "hint: time <= 100, where it is declared" in done.stderr


def test_a_named_value_that_is_held_cannot_be_asked_for() -> None:
    program = run(text_of("scores = (x -> dense(6)) @ transpose(k)\n  z = softmax(scores) @ k"))
    x = [np.zeros((3, 6), np.float32)]
    assert program.predict({"x": x, "k": x})["p"][0].shape == (3, 6)
    with pytest.raises(ValueError, match="two varying dimensions"):
        program.predict({"x": x, "k": x}, outputs=["scores"])
