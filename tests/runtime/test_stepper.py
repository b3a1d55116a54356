"""Stepping: a model that is run step by step computes the same as on whole sequences, also where it attends.

Most models run in the reference interpreter, so that many can be tested. Those that would read later steps are refused.
"""

import ml_dtypes
import numpy as np
import pytest

import netc
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.passes.stepping.step import stepping
from netc.compiler.pipeline import steppable_graph
from netc.runtime.data.stored import Array
from netc.runtime.inference import stepper
from netc.runtime.inference.stepper import Stepped, Stepper
from netc.runtime.program import Program

MOST, LONG, TOKENS = 12, 64, 7
BLOCKS = """
block transformer(x: float[t, n], causal = true) {
  h = x + (x -> layernorm -> self_attention(2, causal))
  return h + (h -> layernorm -> dense(2 * n) -> gelu -> dense(n))
}

block attending(x: float[t, n]) {
  s = scan xt in x with h = zeros(n) {
    h = tanh(xt + h + attention(h, x, x))
    yield h
  }
  return s
}
"""
STEPPED = {
    "a transformer": "e -> transformer -> transformer",
    "sinusoidal positions": "e -> positions -> transformer",
    "learned positions": "(e + P[:time]) -> transformer -> transformer",
    "attention between recurrent layers": "e -> gru(6) -> self_attention(3, true) -> lstm(6)",
    "attention to what was before": "attention(e, shift(e), e, 2, true)",
    "a mask that is added": "softmax(e @ transpose(e) - 1e9 * (later > 0)) @ e",
    "a mask after the exponential": "(exp(e @ transpose(e)) * (later <= 0)) @ e",
    "a mask by numbers": "softmax(where(arange(time) >= unsqueeze(1 + arange(time)), -1e9, e @ transpose(e))) @ e",
    "values of an embedding": "softmax(where(arange(time) > unsqueeze(arange(time)), -1e30, "
    "(e -> dense(4)) @ transpose(e -> dense(4)))) @ e",
    "only the steps before": "where(later >= 0, 0.0, e @ transpose(e)) @ e",
    "a window of steps": "softmax(where(later > 0, -1e30, where(later < -2, -1e20, e @ transpose(e)))) @ e",
    "the largest": "e * unsqueeze(max(where(later > 0, -1e30, e @ transpose(e)), over = -1))",
    "log-probabilities": "exp(log_softmax(where(later > 0, -1e30, e @ transpose(e)))) @ e",
    "a decay with the distance": "(exp(0.5 * later) * (later <= 0)) @ e",
}
REFUSED = {
    "all steps": "e -> transformer(false)",
    "a mask of one more step": "softmax(where(later > 1, -1e30, e @ transpose(e))) @ e",
    "a mask of the earlier steps": "softmax(where(later < 0, -1e30, e @ transpose(e))) @ e",
    "a mask that is too weak": "softmax(where(later > 0, -5.0, e @ transpose(e))) @ e",
    "a mask that the sum does not ignore": "where(later > 0, -1e30, e @ transpose(e)) @ e",
    "masked keys": "softmax(e @ transpose(e)) @ where(unsqueeze(arange(time)) > 3, 0.0, e)",
    "softmax along the queries": "softmax(where(later > 0, -1e30, e @ transpose(e)), over = 0) @ e",
    "the number of steps": "e / time",
    "in a scan": "attending(e)",
    "the mean of earlier numbers": "e * unsqueeze(mean(where(later > 0, 0.0, e @ transpose(e)), over = -1))",
}


def source_of(statement: str, most: int = MOST, precision: str = "f64") -> str:
    return (
        f"{BLOCKS}model {{\n  input token: class({TOKENS})[time <= {most}]\n  param P: float[{most}, 6] = normal(1)\n"
        "  e = token -> embed(6)\n  later = arange(time) - unsqueeze(arange(time))\n"
        f"  h = {statement}\n  output z = h\n}}\ntrain {{\n  precision = {precision}\n}}\n"
    )


def program_of(statement: str, backend: str = "reference", threads: int = 1) -> Program:
    return netc.compile(netc.parse(source_of(statement)), seed=3, backend=backend, threads=threads)


def long_program(statement: str, backend: str = "reference", precision: str = "f64") -> Program:
    """A program of sequences that are long enough for attention to be one operation."""
    return netc.compile(netc.parse(source_of(statement, LONG, precision)), seed=3, backend=backend)


def stepper_of(program: Program, samples: int = 1) -> Stepper:
    graph = steppable_graph(program.model)
    what = Stepped(graph, Result(ResultKind.OUTPUT, "z"), "token", "time", program.model.bounds["time"])
    return Stepper(program.compiled, what, samples)


def tokens_of(samples: int, count: int) -> Array:
    return np.random.default_rng(5).integers(0, TOKENS, (samples, count)).astype(np.int32)


@pytest.mark.parametrize("name", STEPPED)
def test_a_step_computes_what_the_whole_sequence_gives(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(stepper, "_LEAST_CAPACITY", 5)  # histories grow twice
    program = program_of(STEPPED[name])
    (tokens,) = tokens_of(1, MOST)
    expected = program.predict({"token": [tokens]})["z"][0]
    model = stepper_of(program)
    np.testing.assert_allclose([model.step(tokens[i : i + 1])[0] for i in range(MOST)], expected, 1e-10, 1e-12)


ATTENDING = (
    "learned positions",
    "a transformer",
    "attention to what was before",
    "attention between recurrent layers",
    "sinusoidal positions",
    "values of an embedding",
)


@pytest.mark.parametrize("backend", ["reference", "plan", "cpu"])
@pytest.mark.parametrize("name", ATTENDING)
def test_attention_as_one_operation_is_stepped(monkeypatch: pytest.MonkeyPatch, name: str, backend: str) -> None:
    """Histories grow on the way."""
    monkeypatch.setattr(stepper, "_LEAST_CAPACITY", 5)
    monkeypatch.setattr(stepper, "_CACHE_BYTES", 1)
    program, count = long_program(STEPPED[name], backend), 14 if backend == "cpu" else 7
    assert program.model.bounds["time"] == LONG
    (tokens,) = tokens_of(1, count)
    expected = long_program(STEPPED[name]).predict({"token": [tokens]})["z"][0]
    model = stepper_of(program)
    np.testing.assert_allclose([model.step(token[None])[0] for token in tokens], expected, 1e-10, 1e-12)


def test_histories_that_attention_alone_reads_have_room_for_many_steps() -> None:
    attending, windowed = (stepper_of(long_program(STEPPED[name])) for name in ("a transformer", "a window of steps"))
    steps = [stepping(model._graph, "time", 8) for model in (attending, windowed)]
    assert [step.reads_earlier_steps_alone for step in steps] == [True, False]
    assert all(type_.dims[1] == 8 for step in steps for type_ in step.histories.values())


def test_attention_to_fixed_keys_is_stepped() -> None:
    """Each query sees the keys up to its own number, of a parameter's rows."""
    statement = "attention(e, K, K, 2, true)"
    source = source_of(statement, LONG).replace("  e =", f"  param K: float[{LONG}, 6] = normal(1)\n  e =")
    program = netc.compile(netc.parse(source), seed=3, backend="reference")
    (tokens,) = tokens_of(1, 9)
    expected = program.predict({"token": [tokens]})["z"][0]
    model = stepper_of(program)
    np.testing.assert_allclose([model.step(token[None])[0] for token in tokens], expected, 1e-10, 1e-12)


@pytest.mark.parametrize("name", ["all steps", "in a scan"])
def test_attention_as_one_operation_that_would_read_later_steps_is_refused(name: str) -> None:
    with pytest.raises(netc.Fault, match="E0506"):
        stepper_of(long_program(REFUSED[name]))


@pytest.mark.parametrize("most", [MOST, LONG])
def test_steps_in_bf16_keep_rounded_rows(most: int) -> None:
    """Compiled steps compute what the whole sequence gives, and histories contain numbers of bf16 alone."""
    source = source_of(STEPPED["learned positions"], most, "bf16")
    program = netc.compile(netc.parse(source), seed=3, backend="cpu", threads=1)
    (tokens,) = tokens_of(1, MOST)
    expected = np.array(program.predict({"token": [tokens]})["z"][0])
    model = stepper_of(program)
    steps = np.array([model.step(token[None])[0] for token in tokens])
    np.testing.assert_allclose(steps, expected, 0.02, 0.02)
    for history in model.histories.values():
        rows = history[:, :MOST]
        assert rows.any()
        assert (rows == rows.astype(ml_dtypes.bfloat16).astype(np.float32)).all()


def test_the_plan_of_a_step_reads_and_writes_only_its_own_memory() -> None:
    program, reference = (program_of(STEPPED["learned positions"], backend) for backend in ("plan", "reference"))
    (tokens,) = tokens_of(1, 3)
    model, expected = stepper_of(program), stepper_of(reference)
    for token in tokens:
        np.testing.assert_allclose(model.step(token[None]), expected.step(token[None]), 1e-10, 1e-12)


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_would_read_later_steps_is_refused(name: str) -> None:
    with pytest.raises(netc.Fault, match="E0506"):
        stepper_of(program_of(REFUSED[name]))


@pytest.mark.parametrize("name", ["learned positions", "attention between recurrent layers"])
def test_samples_are_stepped_together_and_reordered(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(stepper, "_LEAST_CAPACITY", 3)
    program = program_of(STEPPED[name], "cpu", threads=2)
    program.compiled.workers.shares_small_steps = True
    tokens, sources = tokens_of(3, MOST), np.array([2, 2, 0])
    model = stepper_of(program, 3)
    first = [model.step(row) for row in tokens.T[:5]]
    model.reorder(sources)
    second = [model.step(row) for row in tokens.T[5:]]
    texts = np.concatenate([tokens[sources, :5], tokens[:, 5:]], axis=1)
    expected = np.array(program.predict({"token": list(texts)})["z"])
    np.testing.assert_allclose(np.array(first)[:, sources].swapaxes(0, 1), expected[:, :5], 1e-10, 1e-12)
    np.testing.assert_allclose(np.array(second).swapaxes(0, 1), expected[:, 5:], 1e-10, 1e-12)

    on_one = stepper_of(program_of(STEPPED[name], "cpu", threads=1), 3)
    assert all((step == on_one.step(row)).all() for step, row in zip(first, tokens.T[:5], strict=True))


def test_a_sequence_beyond_the_bound_is_begun_anew_from_its_last_half() -> None:
    program = program_of(STEPPED["learned positions"])
    (tokens,) = tokens_of(1, MOST + 4)
    model = stepper_of(program)
    steps = [model.step(tokens[i : i + 1])[0] for i in range(len(tokens))]
    expected = program.predict({"token": [tokens[MOST // 2 :]]})["z"][0]
    np.testing.assert_allclose(steps[MOST:], expected[MOST // 2 :], 1e-10, 1e-12)


@pytest.mark.parametrize("statement", ["e -> gru(6)", "e -> positions -> gru(6)"])
def test_a_model_without_attention_takes_any_number_of_steps(statement: str) -> None:
    (tokens,) = tokens_of(1, 3 * MOST)
    model = stepper_of(program_of(statement))
    steps = [model.step(tokens[i : i + 1])[0] for i in range(len(tokens))]
    longer = netc.parse(source_of(statement).replace(f"time <= {MOST}", f"time <= {3 * MOST}"))
    program = netc.compile(longer, seed=3, backend="reference")
    np.testing.assert_allclose(steps, program.predict({"token": [tokens]})["z"][0], 1e-10, 1e-12)
