"""Losses, weights, split metrics and watched values, compared with textbook formulas in f64 on both backends."""

from typing import Literal

import numpy as np
import pytest

import netc
from netc.runtime.data.stored import Array
from netc.runtime.training.schedule import scheduled

SEVERAL = """model {
  input x: float[6]
  input w: float
  target y: class(3)
  target z: float[2]
  h = x -> dense(8) -> tanh
  logits = h -> dense(3)
  guess = h -> dense(2)
  output p = softmax(logits)
  loss kind = weighted(cross_entropy(logits, y), class_weights(y)[y])
  loss size = weighted(mse(guess, z), w) * 0.5
  loss plain = 0.25 * huber(guess, z)
  loss small = 0.01 * l2(weights("*.W"))
  metric accuracy(logits, y)
  metric area = auc(logits, y)
  metric confusion(logits, y)
  watch h = h
}
train {
  precision = f64
  batch = BATCH
  accumulate = TIMES
  optimizer = adam(lr = 0.02)
}
"""


def fields_of(count: int) -> dict[str, Array]:
    rng = np.random.default_rng(5)
    return {
        "x": rng.standard_normal((count, 6)),
        "w": rng.uniform(0.1, 3, count),
        "y": rng.choice(3, count, p=[0.6, 0.3, 0.1]).astype(np.int32),
        "z": rng.standard_normal((count, 2)),
    }


def program_of(batch: int, times: int, backend: str = "cpu") -> netc.Program:
    text = SEVERAL.replace("BATCH", str(batch)).replace("TIMES", str(times))
    program = netc.compile(netc.parse(text), backend=backend)
    program.fit(fields_of(50))
    return program


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_accumulation_equals_one_large_batch(backend: str) -> None:
    """With a short last batch, different weights and a penalty, every loss and every parameter agrees to 1e-12."""
    fields, order = fields_of(50), np.random.default_rng(1).permutation(50)
    small, big = program_of(5, 4, backend), program_of(20, 1, backend)
    for epoch in range(3):
        ours, theirs = small.steps(fields, order, epoch), big.steps(fields, order, epoch)
        assert ours.values.keys() == theirs.values.keys()
        for name in ours.values:
            np.testing.assert_allclose(ours.values[name], theirs.values[name], atol=1e-12, err_msg=name)
            np.testing.assert_allclose(ours.counts[name], theirs.counts[name], atol=1e-12, err_msg=name)
    for name in big.parameters:
        np.testing.assert_allclose(small.parameters[name], big.parameters[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_accumulation_of_batch_statistics_and_penalties(
    backend: Literal["cpu", "reference"],
) -> None:
    """A variance over the batch is weighted by the batch's samples.

    A penalty of four elements and one of a single element are each divided by their own number (generated program
    200226).
    """
    program = netc.compile(
        netc.parse("""
model {
  input x: float[2]
  param w: float[2, 2] = uniform(-0.5, 0.5)
  h = x @ w
  loss variance(h, over = batch)
  loss square(w)
  loss sum(w)
}
train {
  optimizer = sgd(1.0)
  batch = 4
  accumulate = 2
  precision = f64
}
"""),
        backend=backend,
    )
    x, before = np.random.default_rng(0).standard_normal((6, 2)), program.parameters["w"].copy()
    (loss, large), (other_loss, small) = (program.gradients({"x": part}) for part in (x[:4], x[4:]))
    losses = program.step({"x": x})
    assert losses["loss"] == pytest.approx((loss * 4 + other_loss * 2) / 6, abs=1e-12)
    np.testing.assert_allclose(before - program.parameters["w"], (large["w"] * 4 + small["w"] * 2) / 6, atol=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_losses_and_metrics_agree_with_their_formulas(backend: str) -> None:
    program, fields = program_of(50, 1, backend), fields_of(50)
    metrics = program.evaluate(fields)
    p = program.predict(fields)["p"]
    counts = np.bincount(fields["y"], minlength=3)
    weight = (50 / (3 * counts))[fields["y"]]
    crossed = -np.log(p[np.arange(50), fields["y"]])
    assert metrics["kind"] == pytest.approx((crossed * weight).sum() / weight.sum(), abs=1e-12)
    squares = sum((program.parameters[name] ** 2).sum() for name in program.parameters if name.endswith(".W"))
    assert metrics["penalty"] == pytest.approx(0.01 * squares, abs=1e-12)
    assert metrics["loss"] == pytest.approx(metrics["kind"] + metrics["size"] + metrics["plain"], abs=1e-12)
    pairs = []
    for label in range(3):
        positive, negative = p[fields["y"] == label, label], p[fields["y"] != label, label]
        pairs.append(np.mean((positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)))
    assert metrics["area"] == pytest.approx(np.mean(pairs), abs=1e-12)
    table = np.zeros((3, 3))
    np.add.at(table, (fields["y"], p.argmax(1)), 1)
    np.testing.assert_array_equal(metrics["confusion"], table)
    hidden = np.tanh(fields["x"] @ program.parameters["h.dense.W"] + program.parameters["h.dense.b"])
    watched = [metrics[f"watch.h.{what}"] for what in ("mean", "std", "min", "max")]
    np.testing.assert_allclose(watched, [hidden.mean(), hidden.std(), hidden.min(), hidden.max()], atol=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("beside", ["o", "dropout(o, 0.5)", "batchnorm(o)", "(o if training else 2 * o)"])
@pytest.mark.parametrize("loss", ["weighted(square(a - y), exp(b))", "square(a * exp(stop_gradient(b)) - y)"])
def test_weights_and_stopped_values_take_no_gradient(loss: str, beside: str, backend: str) -> None:
    """Also if the model asks for `training`, which makes passes simplify it before differentiation."""
    model = netc.parse(
        "model {\n  input x: float[4]\n  target y: float\n  a = x -> dense(1) -> squeeze\n"
        "  b = x -> dense(1) -> squeeze\n  o = x -> dense(2)\n"
        f"  p = {beside}\n  loss main = {loss}\n  loss other = p ** 3\n}}\ntrain {{ precision = f64 }}"
    )
    rng = np.random.default_rng(0)
    program = netc.compile(model, backend=backend)
    _, gradients = program.gradients({"x": rng.standard_normal((9, 4)), "y": rng.standard_normal(9)})
    assert not gradients["b.dense.W"].any()
    assert gradients["a.dense.W"].any()
    assert gradients["o.dense.W"].any()


@pytest.mark.parametrize("choice", ["where(x > -1, x * s, y)", "maximum(x * s, y - 5)", "clip(x * s, y - 5, 9)"])
def test_the_branch_that_is_not_chosen_takes_no_gradient(choice: str) -> None:
    """Also if the gradient of the chosen branch is infinite."""
    model = netc.parse(
        f"model {{\n  input x: float[2]\n  input y: float[2]\n  param s: float = ones\n  z = sqrt({choice})\n"
        f"  loss sum(z)\n}}\n"
    )
    fields = {"x": np.array([[0.0, 1.0]], np.float32), "y": np.array([[1.0, 1.0]], np.float32)}
    _, gradients = netc.compile(model, backend="reference").gradients(fields, wrt=("x", "y"))
    assert gradients["x"].tolist() == [[np.inf, 0.5]]
    assert gradients["y"].tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("subscripts", "expected"),
    [
        ('x, y, "ij,jk->ik"', "bij,jk->bik"),
        ('x, y, "ij,jk->ki"', "bij,jk->bki"),
        ('x, "ij->j"', "bij->bj"),
        ('x, "ij->ji"', "bij->bji"),
        ('x, y, x, "ij,jk,lj->ilk"', "bij,jk,blj->bilk"),
        ('x, x, "ij,ij->"', "bij,bij->b"),
    ],
)
def test_einsum_agrees_with_numpy(subscripts: str, expected: str) -> None:
    model = netc.parse(
        f"model {{\n  input x: float[3, 4]\n  param y: float[4, 2] = normal(1)\n"
        f"  output z = einsum({subscripts})\n}}\ntrain {{ precision = f64 }}"
    )
    program = netc.compile(model)
    x = np.random.default_rng(0).standard_normal((5, 3, 4))
    y = program.parameters.get("y")
    operands = [x if name.strip() == "x" else y for name in subscripts.split('"')[0].split(",")[:-1]]
    np.testing.assert_allclose(program.predict({"x": x})["z"], np.einsum(expected, *operands), atol=1e-12)


def test_only_metrics_are_in_the_units_of_the_data() -> None:
    """Also if a loss and a metric share values, and if parts are for training only."""
    model = netc.parse(
        "model {\n  input x: float[4]\n  target y: float\n  output z = x -> dropout(0.1) -> dense(1) -> squeeze\n"
        "  loss mse(z, y)\n  metric mse(z, y)\n  metric mae(z, y)\n}\ntrain { precision = f64 }"
    )
    rng = np.random.default_rng(0)
    program, fields = netc.compile(model), {"x": rng.standard_normal((40, 4)), "y": rng.standard_normal(40)}
    plain, undone = program.evaluate(fields), program.evaluate(fields, {"y": lambda array: array * 100 + 7})
    assert undone["loss"] == pytest.approx(plain["loss"], rel=1e-12)
    assert undone["mse"] == pytest.approx(plain["mse"] * 1e4, rel=1e-9)
    assert undone["mae"] == pytest.approx(plain["mae"] * 100, rel=1e-9)


MOVED = """model {
  input x: float[3]
  target y: float
  h = x -> dense(4) -> tanh
  z = h -> dense(1) -> squeeze
  loss mse(z, y)
  loss small = sum(h ** 2)
  loss penalty = 0.1 * l2(weights("*.W"))
}
train {
  loss_scale = (small = minimum(1, epoch / 4), penalty = 0.5)
  batch = BATCH
  accumulate = TIMES
  precision = f64
  optimizer = sgd(lr = 0.1)
}
"""


@pytest.mark.parametrize(("batch", "times"), [(12, 1), (4, 3)])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_schedule_scales_a_loss(backend: str, batch: int, times: int) -> None:
    """A step follows the gradient of each loss times its factor. The printed loss is without the factor."""
    text = MOVED.replace("BATCH", str(batch)).replace("TIMES", str(times))
    rng = np.random.default_rng(7)
    fields = {"x": rng.standard_normal((12, 3)), "y": rng.standard_normal(12)}
    program = netc.compile(netc.parse(text), backend=backend)
    alone = {}
    for name in ("mse", "small", "penalty"):
        lines = [line for line in MOVED.splitlines() if not line.lstrip().startswith(("loss", "accumulate"))]
        (loss,) = (line for line in MOVED.splitlines() if line.startswith((f"  loss {name} ", f"  loss {name}(")))
        program_text = "\n".join(lines).replace("}", f"{loss}\n}}", 1).replace("BATCH", "12")
        alone[name] = netc.compile(netc.parse(program_text), backend="reference")
    for epoch in (0.0, 1.0, 2.5, 9.0):
        parameters = {name: array.copy() for name, array in program.parameters.items()}
        losses = {}
        for name, scale in (("mse", 1.0), ("small", min(1.0, epoch / 4)), ("penalty", 0.5)):
            for key, array in program.parameters.items():
                alone[name].parameters[key][...] = array
            losses[name], gradients = alone[name].gradients(fields)
            for key, gradient in gradients.items():
                parameters[key] -= 0.1 * scale * gradient
        moved = scheduled(program.model.train, np.array([round(2 * epoch)]), 2)
        result = program.steps(fields, np.arange(12), 0, moved)
        for name, value in losses.items():
            assert result.values[name][0] == pytest.approx(value, rel=1e-12)
        assert result.values["loss"][0] == pytest.approx(sum(losses.values()), rel=1e-12)
        for key, array in program.parameters.items():
            np.testing.assert_allclose(array, parameters[key], rtol=1e-12, atol=1e-14)
    if times > 1:
        return
    gradients = program.gradients(fields)[1]
    assert gradients.keys() == program.parameters.keys()
    for name in alone:  # for single steps the schedule is at its beginning, where `small` has the factor 0
        for key, array in program.parameters.items():
            alone[name].parameters[key][...] = array
    for key, gradient in gradients.items():
        wanted_one = alone["mse"].gradients(fields)[1][key] + 0.5 * alone["penalty"].gradients(fields)[1].get(key, 0)
        np.testing.assert_allclose(gradient, wanted_one, rtol=1e-12, atol=1e-14)
