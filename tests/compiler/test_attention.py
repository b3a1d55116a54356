"""Values with two varying dimensions.

A batch is compared with each sample alone, compiled code with the interpreter, gradients with finite differences, and
attention with PyTorch.
"""

import numpy as np
import pytest
from support import run, slope

import netc
from netc.compiler.backends import Backend
from netc.compiler.ir.value import OPERATIONS
from netc.compiler.lowering.lower import lower
from netc.compiler.pipeline import gradient_graph, run_passes, training_graph
from netc.compiler.planning.plan import plan
from netc.compiler.program.tasks import Task
from netc.compiler.targets.named import NAMED

LENGTHS, OTHERS = (4, 1, 7, 2, 5, 7, 3), (3, 6, 1, 2, 8, 2, 4)
RNG = np.random.default_rng(2)
X = [RNG.standard_normal((n, 6)) for n in LENGTHS]
Y = [RNG.standard_normal((n, 4)) for n in OTHERS]
QUERIES = [RNG.integers(0, 4, n).astype(np.int32) for n in LENGTHS]
FIELDS = {"x": X, "y": Y, "one": QUERIES}

# z: float[time, 4], of x: float[time, 6] and k: float[s, 6]
MODELS = {
    "attention": "z = attention(x -> dense(6), k, k) -> dense(4)",
    "heads, causal, positions": (
        "h = x -> positions -> self_attention(heads = 2, causal = true)\n"
        "  z = concat(h, attention(h, k, k, heads = 3)) -> dense(4)"
    ),
    "a query in a scan": """layer f = dense(5)
  param Q: float[5, 6]
  h = scan xt in x with h = zeros(5) {
    h = tanh(f(concat(xt, attention(h @ Q, k, k, heads = 2))) + h)
    yield h
  }
  z = h -> dense(4)""",
    "additive, its weights yielded": """layer f = dense(6)
  param Q: float[6, 6]
  param v: float[6]
  hs, ws = scan xt in x with h = zeros(6) {
    w = softmax(tanh(k + h @ Q) @ v)
    h = tanh(f(concat(xt, w @ k)) + mean(k * h, over = s) + max(k, over = 0))
    yield h, w
  }
  z = (hs + ws @ k) -> dense(4)""",
    "a scan in a scan, over a sequence from outside": """layer f = dense(6)
  hs = scan xt in x with h = zeros(6) {
    read = scan ks in k with a = h, n = 0 {
      a = tanh(f(concat(a, ks)))
      n = n + 1
      yield a * n
    }
    h = last(read) + 0.1 * mean(read, over = s) + xt
    yield h
  }
  z = hs -> dense(4)""",
    "the products by hand": (
        "param W: float[6, 6]\n  w = x @ W @ transpose(k)\n  z = (w * exp(log_softmax(w))) @ k -> dense(4)"
    ),
    "reductions along either": """param W: float[6, 6]
  w = einsum(x, W, k, "tn,nm,sm->ts")
  c = mean(w, over = s) + max(w, over = 1) + min(w, over = s) + norm(w, over = s) + logsumexp(w)
  d = mean(w, over = time) - variance(w, over = 0)
  e = sum(w * unsqueeze(c) * unsqueeze(d, 0)) / (time * s) + mean(cumsum(w))
  z = unsqueeze(c) * (x -> dense(4)) + e + (sum(unsqueeze(d) * k, over = 0) -> dense(4)) + tanh(mean(w))""",
    "of itself": "param W: float[6, 6]\n  z = (softmax(x @ W @ transpose(x)) @ x) -> dense(4)",
    "steps summed over": """u = transpose(x) @ x -> reshape(36)
  v = einsum(k, k, "sn,sm->nm") -> reshape(36)
  z = (x -> dense(4)) + ((u + v) / 10 -> dense(4))""",
    "the most alike": "w = x @ transpose(k)\n  z = concat(x, unsqueeze(0.1 * where(argmax(w) == 1, 1, 0))) -> dense(4)",
    "a step that a sample chooses": "z = (x -> dense(4)) * x[argmax(mean(x, over = 1))][0:1]",
}


# With these bounds, attention of a head has enough scores to be computed block by block (passes/attend.py).
FAR = {"attention": 1, "heads, causal, positions": 2, "of itself": 1}


def text_of(statement: str, bounds: tuple[int, int] | None = (9, 8)) -> str:
    time, s = ("time", "s") if bounds is None else (f"time <= {bounds[0]}", f"s <= {bounds[1]}")
    return (
        f"model {{\n  input x: float[{time}, 6]\n  input y: float[{s}, 4]\n"
        "  target one: class(4)[time]\n"
        "  k = y -> dense(6)\n"
        f"  {statement}\n  output p = z\n  loss cross_entropy(z, one)\n}}\ntrain {{\n  precision = f64\n"
        f"  batch = 7\n}}\n"
    )


@pytest.mark.every(3)
@pytest.mark.parametrize("name", MODELS)
def test_a_batch_gives_the_results_of_its_samples(name: str, backend: Backend) -> None:
    check_samples(text_of(MODELS[name]), backend)


@pytest.mark.every(2)
@pytest.mark.parametrize("bounds", [(40, 36), None])
@pytest.mark.parametrize("name", FAR)
def test_attention_block_by_block_gives_the_results_of_its_samples(
    name: str, bounds: tuple[int, int] | None, backend: Backend
) -> None:
    """The scores of 40 times 36 steps, or of any number: the gradient computes them again."""
    text = text_of(MODELS[name], bounds)
    graph = gradient_graph(netc.parse(text))
    assert [len(graph.values(OPERATIONS[kind])) for kind in ("attend", "attend_gradient")] == [FAR[name], 3 * FAR[name]]
    check_samples(text, backend)


def check_samples(text: str, backend: Backend) -> None:
    """Compares a batch with its samples alone, compiled code with the interpreter, and gradients with slopes."""
    rng = np.random.default_rng(3)
    reference, *compiled = run(text, "reference"), *(run(text, backend, threads) for threads in (1, 2, 8))
    inputs = {key: FIELDS[key] for key in ("x", "y")}
    expected, (loss, gradients) = reference.predict(inputs)["p"], reference.gradients(FIELDS)
    alone = [{key: field[i : i + 1] for key, field in FIELDS.items()} for i in range(len(LENGTHS))]
    for i, sample in enumerate(alone):
        sample_inputs = {key: sample[key] for key in inputs}
        np.testing.assert_allclose(reference.predict(sample_inputs)["p"][0], expected[i], rtol=1e-12, atol=1e-13)
    each = [reference.gradients(sample) for sample in alone]
    shares = np.array(LENGTHS) / sum(LENGTHS)
    assert loss == pytest.approx(
        sum(share * sample_loss for share, (sample_loss, _) in zip(shares, each, strict=True)), rel=1e-12
    )
    for key, gradient in gradients.items():
        expected_gradient = sum(
            share * gradients_of_sample[key] for share, (_, gradients_of_sample) in zip(shares, each, strict=True)
        )
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-12, err_msg=key)
    for program in compiled:
        for predicted, other in zip(program.predict(inputs)["p"], expected, strict=True):
            np.testing.assert_allclose(predicted, other, rtol=1e-10, atol=1e-12)
        for key, gradient in program.gradients(FIELDS)[1].items():
            np.testing.assert_allclose(gradient, gradients[key], rtol=1e-9, atol=1e-12, err_msg=key)
            np.testing.assert_array_equal(gradient, compiled[0].gradients(FIELDS)[1][key])
    for key, gradient in gradients.items():
        for index in {tuple(int(rng.integers(0, n)) for n in gradient.shape) for _ in range(3)}:
            expected_slope = slope(reference, FIELDS, key, index, 1e-6)
            assert gradient[index] == pytest.approx(expected_slope, rel=1e-6, abs=1e-8), key


@pytest.mark.parametrize(("causal", "bound"), [(False, 9), (True, 9), (False, 32), (True, 40)])
def test_self_attention_agrees_with_pytorch(causal: bool, bound: int) -> None:
    rng = np.random.default_rng(3)
    torch = pytest.importorskip("torch")
    text = (
        f"model {{\n  input x: float[time <= {bound}, 6]\n  target y: float[time, 6]\n"
        f"  z = x -> self_attention(heads = 3, causal = {str(causal).lower()})\n  output p = z\n  loss mse(z, y)\n}}\n"
        "train {\n  precision = f64\n  batch = 7\n}\n"
    )
    program = run(text)
    parameters = {name.rpartition(".")[2]: array for name, array in program.parameters.items()}
    for array in parameters.values():
        array[...] = rng.standard_normal(array.shape) * 0.4
    theirs = torch.nn.MultiheadAttention(6, 3, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.tensor(parameters["W"].T.copy()))
        theirs.in_proj_bias.copy_(torch.tensor(parameters["b"]))
        theirs.out_proj.weight.copy_(torch.tensor(parameters["W_out"].T.copy()))
        theirs.out_proj.bias.copy_(torch.tensor(parameters["b_out"]))
    truths = [rng.standard_normal(x.shape) for x in X]
    predicted, total = program.predict({"x": X})["p"], torch.zeros((), dtype=torch.float64)
    for x, y, z in zip(X, truths, predicted, strict=True):
        sequence = torch.tensor(x)[None]
        mask = torch.triu(torch.ones(len(x), len(x), dtype=torch.bool), diagonal=1) if causal else None
        attended, _ = theirs(sequence, sequence, sequence, attn_mask=mask, need_weights=False)
        np.testing.assert_allclose(z, attended[0].detach().numpy(), rtol=1e-9, atol=1e-11)
        total = total + ((attended[0] - torch.tensor(y)) ** 2).mean(dim=1).sum()
    total = total / sum(LENGTHS)
    total.backward()
    loss, gradients = program.gradients({"x": X, "y": truths})
    assert loss == pytest.approx(total.item(), rel=1e-12)
    pairs = {
        "W": theirs.in_proj_weight,
        "b": theirs.in_proj_bias,
        "W_out": theirs.out_proj.weight,
        "b_out": theirs.out_proj.bias,
    }
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, pairs[name.rpartition(".")[2]].grad.numpy().T, rtol=1e-9, atol=1e-11)


def test_attention_between_two_sequences_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    program = run(
        "model {\n  input x: float[time <= 9, 6]\n  input y: float[s <= 8, 4]\n"
        "  output p = attention(x, concat(y, y[:, 1:3]), y, heads = 2)\n}\n"
        "train { precision = f64 }\n"
    )
    for x, y, z in zip(X, Y, program.predict({"x": X, "y": Y})["p"], strict=True):
        q, k, v = (
            torch.tensor(array).reshape(len(array), 2, -1).transpose(0, 1)
            for array in (x, np.concatenate([y, y[:, 1:3]], axis=1), y)
        )
        attended = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(0, 1).reshape(len(x), 4)
        np.testing.assert_allclose(z, attended.numpy(), rtol=1e-9, atol=1e-11)


def test_a_product_of_weights_is_computed_before_the_rows() -> None:
    text = (
        "model {\n  input x: float[time <= 9, 6]\n  param A: float[5, 6]\n  param B: float[6, 4]\n"
        '  output p = einsum(A, B, x, "am,mk,tm->tk")\n}\ntrain { precision = f64 }\n'
    )
    program = run(text)
    parameters = program.parameters
    for x, z in zip(X, program.predict({"x": X})["p"], strict=True):
        np.testing.assert_allclose(z, np.einsum("am,mk,tm->tk", parameters["A"], parameters["B"], x), rtol=1e-10)


def test_positions_are_sines_and_cosines() -> None:
    program = run(
        "model {\n  input x: float[time <= 9, 6]\n  output p = x -> positions\n}\ntrain { precision = f64 }\n"
    )
    for x, z in zip(X, program.predict({"x": X})["p"], strict=True):
        step, wave = np.arange(len(x))[:, None], np.arange(3)
        angle = step / 10_000 ** (2 * wave / 6)
        np.testing.assert_allclose(z, x + np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(-1, 6), rtol=1e-9)


def test_an_output_with_two_varying_dimensions_has_both_lengths() -> None:
    weights = run(text_of("z = x -> dense(4)\n  output w = softmax(x @ transpose(k))")).predict({"x": X, "y": Y})["w"]
    assert [matrix.shape for matrix in weights] == list(zip(LENGTHS, OTHERS, strict=True))
    for matrix in weights:
        np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-12)


UNTIL = """
model {
  input x: float[4]
  target one: class(5)[time <= 9]
  layer sound = embed(6)
  layer f = dense(8)
  layer g = dense(5)
  hs = scan t in sound(shift(one)) with h = concat(x, x) {
    h = tanh(f(concat(t, h)))
    yield h
  }
  z = g(hs)
  loss cross_entropy(z, one)
  said, states = scan i in 0..12 until token == 2 with token = 1, h = concat(x, x) {
    h = tanh(f(concat(sound.table[token], h)))
    token = argmax(g(h))
    yield token, h
  }
  output said = said
  output end = last(states)
  output both = mean(states, over = i) + max(states, over = i)
  metric wrong = weighted(edit_distance(said, one) / time, time)
}
train {
  precision = f64
  batch = 3
}
"""


def test_until_ends_a_scan_for_each_sample() -> None:
    """Each sample ends alone, on every backend, and reductions over the steps leave out those after the end."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((7, 4))
    programs = [run(UNTIL, "reference"), run(UNTIL), run(UNTIL, threads=2)]
    for program in programs:
        program.parameters["g.b"][2] = 0.6  # an end is likely, but not certain
    parameters = programs[0].parameters
    expected = []
    for sample in x:
        h, token, tokens, states = np.concatenate([sample, sample]), 1, [], []
        while len(tokens) < 12 and token != 2:
            h = np.tanh(np.concatenate([parameters["sound.table"][token], h]) @ parameters["f.W"] + parameters["f.b"])
            token = int(np.argmax(h @ parameters["g.W"] + parameters["g.b"]))
            tokens.append(token)
            states.append(h)
        expected.append((tokens, np.array(states)))
    assert {len(tokens) for tokens, _ in expected} != {12}, "some end before"
    for program in programs:
        predicted = program.predict({"x": x})
        for i, (tokens, states) in enumerate(expected):
            assert predicted["said"][i].tolist() == tokens
            np.testing.assert_allclose(predicted["end"][i], states[-1], rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(predicted["both"][i], states.mean(0) + states.max(0), rtol=1e-10, atol=1e-12)
    truth = [rng.integers(0, 5, n).astype(np.int32) for n in LENGTHS]
    edits = sum(_edits(tokens, list(true)) for (tokens, _), true in zip(expected, truth, strict=True))
    for program in programs:
        metrics = program.evaluate({"x": x, "one": truth})
        assert metrics["wrong"] == pytest.approx(edits / sum(LENGTHS), rel=1e-12)


def _edits(a: list[int], b: list[int]) -> int:
    """Levenshtein's distance, computed by its definition."""
    if not a or not b:
        return len(a) + len(b)
    changed = _edits(a[1:], b[1:]) + (a[0] != b[0])
    return changed if a[0] == b[0] else min(changed, _edits(a[1:], b) + 1, _edits(a, b[1:]) + 1)


@pytest.mark.parametrize("backend", ["cpu", "plan"])
@pytest.mark.parametrize(("dims", "samples"), [("33, 6", 9), ("33, 6", 3), ("time, 6", 3)])
def test_the_gradients_of_one_projection_are_written_side_by_side(dims: str, samples: int, backend: Backend) -> None:
    """Nothing copies the gradients of queries, keys and values."""
    text = (
        f"model {{\n  input x: float[{dims}]\n  target y: float\n"
        "  z = x -> self_attention(heads = 3)\n  loss mse(mean(z, over = 0) -> sum, y)\n}\n"
        f"train {{\n  batch = {samples}\n}}\n"
    )
    graph = run_passes(training_graph(netc.parse(text)))
    copied = [task for task in lower(graph, {"batch": samples, "time": 99}, NAMED["avx2"]).tasks if _joins(task)]
    assert not copied
    rng = np.random.default_rng(4)
    x = [rng.standard_normal((33 + ("time" in dims) * i, 6)) for i in range(samples)]
    fields = {"x": x if "time" in dims else np.array(x), "y": rng.standard_normal(samples)}
    (loss, gradients), (expected, by_reference) = (run(text, each).gradients(fields) for each in (backend, "reference"))
    assert loss == pytest.approx(expected, rel=1e-5)
    for name, gradient in by_reference.items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=2e-4, atol=1e-5, err_msg=name)


def _joins(task: Task) -> bool:
    return any(value.definition is OPERATIONS["concat"] for value in task.values)


def memory_of(length: int, causal: bool) -> int:
    """The bytes of memory that a training step of self-attention needs besides its parameters, for one worker."""
    text = (
        f"model {{\n  input x: float[{length}, 8]\n  target y: float[{length}, 8]\n"
        f"  z = x -> self_attention(heads = 2, causal = {str(causal).lower()})\n  loss mse(z, y)\n}}\n"
        "train {\n  optimizer = sgd(lr = 0.1)\n  batch = 3\n}\n"
    )
    tasks = lower(run_passes(training_graph(netc.parse(text))), 3, NAMED["avx2"])
    offsets = {name: 1 << 20 for name, buffer in tasks.leaves.items() if buffer.kind == "persistent"}
    planned = plan(tasks, offsets, 3, NAMED["avx2"])
    return planned.shared + planned.private


@pytest.mark.parametrize("causal", [False, True])
def test_the_memory_of_attention_grows_with_the_length(causal: bool) -> None:
    short, middle, long = (memory_of(length, causal) for length in (512, 1024, 2048))
    assert long - middle <= 2.1 * (middle - short)


def test_bits_do_not_depend_on_threads_or_on_what_is_shared_out() -> None:
    """In a batch of 3 the heads are shared out, in one of 8 the samples are."""
    x = np.random.default_rng(5).standard_normal((8, 33, 6)).astype(np.float32)

    def results(batch: int, threads: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        text = (
            "model {\n  input x: float[33, 6]\n  target y: float[33, 6]\n"
            "  z = x -> self_attention(heads = 3, causal = true)\n  output p = z\n  loss mse(z, y)\n}\n"
            f"train {{\n  batch = {batch}\n}}\n"
        )
        program = run(text, threads=threads)
        return program.predict({"x": x})["p"], program.gradients({"x": x[:3], "y": x[3:6]})[1]

    (on_one_thread, gradients), (on_two_threads, again), (shared, _) = results(8, 1), results(8, 2), results(3, 2)
    np.testing.assert_array_equal(on_one_thread, on_two_threads)
    np.testing.assert_array_equal(on_one_thread, shared)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, again[name])
