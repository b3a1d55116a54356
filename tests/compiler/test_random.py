"""Random values: their distribution, and that they depend on seed, epoch, stream and sample alone."""

import numpy as np
import pytest

import netc

UNIFORM = "model {\n  input x: float[4, 50]\n  output u = uniform_like(x)\n  output v = uniform_like(x)\n}"
NORMAL = "model {\n  input x: float[200]\n  output u = normal_like(x)\n}"
DROPOUT = """model {
  input x: float[100]
  target y: float[100]
  h = x -> dropout(0.3)
  param w: float = ones
  output h = h * w
  loss mean((h * w - y) ** 2)
}
train { optimizer = sgd(lr = 1)
  batch = 1000 }
"""


def drawn(text: str, samples: int = 2000, backend: str = "cpu", seed: int = 0, batch: int = 2000) -> dict:
    program = netc.Program(netc.parse(text), seed=seed, backend=backend, batch=batch)
    (type_,) = program.model.inputs.values()
    return program.predict({"x": np.zeros((samples, *type_.shape(1)[1:]), np.float32)})


def test_uniform_numbers_are_uniform_and_independent() -> None:
    numbers = drawn(UNIFORM)
    u, v = numbers["u"].reshape(2000, 200), numbers["v"].reshape(2000, 200)
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.histogram(u, bins=100, range=(0, 1))[0]
    expected = u.size / 100
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert 60 < chi_squared < 150  # 99 degrees of freedom: values outside of this have a probability of 1/1000
    for drawn_again, other in (
        (u, v),
        (u[:-1], u[1:]),
        (u[:, :-1], u[:, 1:]),
        (u, drawn(UNIFORM, seed=1)["u"].reshape(u.shape)),
    ):
        assert abs(np.corrcoef(drawn_again.ravel(), other.ravel())[0, 1]) < 0.007  # 4.4 deviations
    assert len(np.unique(u[:, 0])) > 1990


def test_normal_numbers_are_normal() -> None:
    x = drawn(NORMAL)["u"].astype(np.float64)
    assert abs(x.mean()) < 0.007
    assert abs(x.var() - 1) < 0.01
    assert abs((x**4).mean() - 3) < 0.05
    assert abs((np.abs(x) < 1).mean() - 0.6827) < 0.004


@pytest.mark.parametrize("text", [UNIFORM, NORMAL])
def test_kernels_draw_what_the_reference_draws(text: str) -> None:
    np.testing.assert_allclose(drawn(text)["u"], drawn(text, backend="reference")["u"], rtol=1e-5, atol=1e-5)


def test_random_numbers_do_not_depend_on_how_a_batch_is_divided() -> None:
    assert np.array_equal(drawn(UNIFORM)["u"], drawn(UNIFORM, batch=17)["u"])


def test_dropout_and_its_gradient_leave_out_the_same_share_in_training_only() -> None:
    program = netc.Program(netc.parse(DROPOUT))
    x = np.ones((1000, 100), np.float32)
    assert np.array_equal(program.predict({"x": x})["h"], x)
    fields = {"x": x, "y": np.zeros_like(x)}
    loss, gradients = program.gradients(fields, wrt=("x",))
    kept = gradients["x"] != 0
    assert abs(kept.mean() - 0.7) < 0.006
    np.testing.assert_allclose(gradients["x"][kept], 2 / 0.7**2 / x.size, rtol=1e-5)
    np.testing.assert_allclose(loss, kept.mean() / 0.7**2, rtol=1e-5)
    assert program.step(fields)["loss"] == pytest.approx(loss, rel=1e-6), "a step draws what `gradients` drew before"
    again = program.gradients(fields, wrt=("x",))[1]["x"] != 0
    assert (again != kept).mean() > 0.3, "the next step draws anew"


def test_random_numbers_belong_to_the_sample() -> None:
    rng = np.random.default_rng(0)
    x = np.ones((1000, 100), np.float32)
    losses = []
    for order in (np.arange(1000), rng.permutation(1000)):
        program = netc.Program(netc.parse(DROPOUT))
        losses.append(
            program.steps({"x": x, "y": x * np.arange(1000, dtype=np.float32)[:, None]}, order, 3).values["loss"][0]
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_dropout_costs_nothing_in_prediction() -> None:
    model = netc.parse(
        "model {\n  input x: float[4]\n  a = x * 2 if training else x\n  output y = a if not training else a * 3\n}"
    )
    x = np.ones((3, 4), np.float32)
    assert np.array_equal(netc.compile(model).predict({"x": x})["y"], x)
