"""Updates of states read old values and happen at once, and every next value is stored."""

import numpy as np
import pytest

import netc

OLD = {"a": [1.0, 2.0, 3.0], "b": [10.0, 20.0, 30.0], "c": [100.0, 200.0, 300.0]}
STEP = [1.0, 1.0, 1.0]  # mean(x, over = batch)


def state_after(updates: str, backend: str, reads: str = "a + b + c") -> dict[str, list[float]]:
    """The states a, b and c after one step, on samples whose elements are 1."""
    text = f"""block remember(x: float[n]) {{
  state a: float[n] = zeros
  state b: float[n] = zeros
  state c: float[n] = zeros
  param W: float[n] = normal(1)
{updates}
  return x + W * ({reads})
}}
model {{
  input x: float[3]
  target y: float[3]
  h = x -> remember
  z = h -> dense(3)
  loss mse(z, y)
}}
train {{
  precision = f64
  batch = 5
  optimizer = sgd(lr = 0.1)
}}
"""
    program = netc.compile(netc.parse(text), seed=3, backend=backend, threads=1)
    for name, values in OLD.items():
        program.persistent[f"h.remember.{name}"][...] = values
    weights = program.parameters["h.remember.W"].tolist()
    program.step({"x": np.ones((5, 3)), "y": np.zeros((5, 3))})
    assert program.parameters["h.remember.W"].tolist() != weights
    return {**{name: program.persistent[f"h.remember.{name}"].tolist() for name in OLD}, "old W": weights}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("reads", ["a + b + c", "x"])
@pytest.mark.parametrize(
    ("updates", "after"),
    [
        (["a = b", "b = a"], {"a": "b", "b": "a"}),
        (["a = b", "b = c", "c = a"], {"a": "b", "b": "c", "c": "a"}),
        (["a = b", "b = b + mean(x, over = batch)"], {"a": "b", "b": [11.0, 21.0, 31.0]}),
        (["b = b + mean(x, over = batch)", "a = b"], {"a": "b", "b": [11.0, 21.0, 31.0]}),
        (["b = reverse(b)"], {"b": [30.0, 20.0, 10.0]}),
        (["a = reverse(b)", "b = reverse(a)"], {"a": [30.0, 20.0, 10.0], "b": [3.0, 2.0, 1.0]}),
        (["a = mean(x, over = batch)"], {"a": STEP}),
        (["a = zeros(3)", "b = a"], {"a": [0.0, 0.0, 0.0], "b": "a"}),
        (["a = W", "b = a"], {"a": "old W", "b": "a"}),
        (["a = mean(x, over = batch)", "b = mean(x, over = batch)"], {"a": STEP, "b": STEP}),
        (["a = b", "c = b", "b = a + c"], {"a": "b", "c": "b", "b": [101.0, 202.0, 303.0]}),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else "",
)
def test_updates_are_simultaneous(updates: list[str], after: dict[str, object], reads: str, backend: str) -> None:
    states = state_after("".join(f"  update {update}\n" for update in updates), backend, reads)
    old = {**OLD, "old W": states["old W"]}
    for name in OLD:
        expected = after.get(name, name)
        assert states[name] == (old[expected] if isinstance(expected, str) else expected), name


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_accumulated_sums_are_reset_if_everything_is_frozen(backend: str) -> None:
    text = (
        "model {\n  input x: float[4]\n  target y: float[4]\n  param P: float[4] = normal(0.3)\n  h = x + P\n"
        "  loss mse(h, y)\n}\n"
        'train {\n  batch = 5\n  accumulate = 2\n  optimizer = sgd(lr = 0.1)\n  freeze = "P"\n}\n'
    )
    program = netc.compile(netc.parse(text), seed=3, backend=backend)
    program.step({"x": np.ones((10, 4)), "y": np.ones((10, 4))})
    counts = [float(value) for name, value in program.persistent.items() if name.startswith("accumulated")]
    assert counts == [0.0]


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_carries_are_swapped_delayed_and_set_to_constants(backend: str) -> None:
    """Nothing reads the old value of the carry that is set to a constant."""
    text = """model {
  input x: float[t, 3]
  target y: float[t, 3]
  param w: float[3] = normal(1)
  h = scan s in x with p = w, q = w, r = zeros(3), u = ones(3) {
    k = p + 2 * q + 3 * r
    r = q
    q = p
    p = zeros(3)
    u = tanh(k + s)
    yield k
  }
  output o = h
  loss mse(h, y)
}
train {
  precision = f64
}
"""
    rng = np.random.default_rng(0)
    data = {name: [rng.standard_normal((n, 3)) for n in (3, 1, 4)] for name in "xy"}
    program = netc.compile(netc.parse(text), seed=3, backend=backend)
    w = program.parameters["w"]
    expected = [3 * w, 5 * w, 3 * w, 0 * w]  # p, q, r: (w, w, 0), (0, w, w), (0, 0, w), (0, 0, 0)
    for output, sequence in zip(program.predict({"x": data["x"]})["o"], data["x"], strict=True):
        np.testing.assert_allclose(output, expected[: len(sequence)], rtol=1e-12)
    _, gradients = program.gradients(data)
    factors = np.array([3.0, 5.0, 3.0, 0.0])
    errors = [factors[: len(y), None] * w - y for y in data["y"]]
    slope = sum((2 * factors[: len(error), None] * error).sum(axis=0) for error in errors)
    np.testing.assert_allclose(gradients["w"], slope / (8 * 3), rtol=1e-10)


SHARED = """block counted(x: float[n]) {{
  state total: float[n] = zeros
  state steps: float = zeros
{statements}
  return x + 0 * total
}}
model {{
  input a: float[3]
  input b: float[3]
  target y: float[3]
  layer same = counted()
  z = concat(same(a), same(b){third}) -> dense(3)
  loss mse(z, y)
}}
train {{
  precision = f64
  batch = 2
  optimizer = sgd(lr = 0.1)
}}
"""


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("third", ["", ", same(a + b)"])
@pytest.mark.parametrize(
    "statements",
    [
        "  update total = 0.5 * total + mean(x, over = batch)\n  update steps = steps + 1",
        "  next = 0.5 * total + mean(x, over = batch)\n  update steps = steps + 1\n  update total = next",
    ],
)
def test_applications_of_a_shared_layer_update_its_states_one_after_another(
    statements: str, third: str, backend: str
) -> None:
    """As PyTorch updates the buffers of a module that is called several times; all that a state is computed from in an
    application is as the one before left it."""
    model = netc.parse(SHARED.format(statements=statements, third=third))
    program = netc.compile(model, seed=3, backend=backend, threads=1)
    fields = {"a": np.full((2, 3), 3.0), "b": np.full((2, 3), 5.0), "y": np.zeros((2, 3))}
    for _ in range(2):
        program.step(fields)
    total, means = 0.0, [3.0, 5.0, 8.0] if third else [3.0, 5.0]
    for mean in means * 2:
        total = 0.5 * total + mean
    assert program.persistent["same.total"].tolist() == [total] * 3
    assert program.persistent["same.steps"].item() == 2 * len(means)


def test_an_application_reads_what_the_one_before_left_in_training_alone() -> None:
    text = """block seen(x: float[n]) {
  state before: float[n] = zeros
  update before = mean(x, over = batch)
  return before
}
model {
  input x: float[2]
  target y: float[2]
  layer same = seen()
  first = same(x)
  second = same(2 * x)
  output first = first
  output second = second
  guess = x -> dense(2)
  loss fit = mse(guess + second - first, y)
}
train {
  precision = f64
  batch = 2
  optimizer = sgd(lr = 0.1)
}
"""
    program = netc.compile(netc.parse(text), seed=3, threads=1)
    for parameter in program.parameters.values():
        parameter[...] = 0
    assert program.step({"x": np.ones((2, 2)), "y": np.zeros((2, 2))})["loss"] == 1.0  # the mean of (1 - 0) ** 2
    prediction = program.predict({"x": np.ones((2, 2))})
    assert prediction["first"].tolist() == prediction["second"].tolist() == [2.0, 2.0]
