"""Details of training, against numbers computed by hand: small batches, weights of 0, decisions from metrics."""

from pathlib import Path

import numpy as np
import pytest
from support import run

import netc
from netc.compiler.model import Better, EarlyStop, Plateau
from netc.dsl.source import NOWHERE
from netc.dsl.structs import replace
from netc.runtime.training.decisions import Decisions

RNG = np.random.default_rng(11)
NAN = float("nan")
NORMALISED = """
model {
  input x: float[3]
  target y: float
  h = x -> batchnorm(momentum = 0.8)
  z = h -> dense(1) -> squeeze
  output p = z
  loss mse(z, y)
}
train {
  precision = f64
  optimizer = sgd(lr = 0.01)
  batch = 8
MORE}
"""
FULL = """
model {
  input x: float[3]
  target y: float
  state mean: float[3] = zeros
  state var: float[3] = ones
  m, v = moments(x)
  update mean = 0.8 * mean + (1 - 0.8) * m
  update var = 0.8 * var + (1 - 0.8) * v
  h = (x - m) * rsqrt(v + 0.00001)
  z = h -> dense(1) -> squeeze
  output p = h
  loss mse(z, y)
}
train {
  batch = 8
}
"""


def running(batches: list[np.ndarray], full: int, momentum: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """The running mean and variance of rows, in which a batch counts in proportion to its samples."""
    mean, var = np.zeros(3), np.ones(3)
    for rows, samples in batches:
        rate = (1 - momentum) * samples / full
        mean, var = (1 - rate) * mean + rate * rows.mean(0), (1 - rate) * var + rate * rows.var(0)
    return mean, var


@pytest.mark.parametrize(
    ("samples", "more", "sizes"),
    [
        (17, "", (8, 8, 1)),
        (8, "", (8,)),
        (5, "", (5,)),  # all there are: a full batch
        (17, "  accumulate = 2\n", (8, 8, 1)),
        (19, "  accumulate = 5\n", (8, 8, 3)),
    ],
)
def test_a_small_batch_moves_running_statistics_in_proportion(samples: int, more: str, sizes: tuple[int, ...]) -> None:
    x, y = RNG.standard_normal((samples, 3)), RNG.standard_normal(samples)
    parts = np.split(x, np.cumsum(sizes)[:-1])
    mean, var = running([(part, len(part)) for part in parts], min(8, samples))
    for backend in ("reference", "plan", "cpu"):
        program = run(NORMALISED.replace("MORE", more), backend)
        program.steps({"x": x, "y": y}, np.arange(samples), 0)
        np.testing.assert_allclose(program.persistent["h.batchnorm.mean"], mean, rtol=1e-12)
        np.testing.assert_allclose(program.persistent["h.batchnorm.var"], var, rtol=1e-12)


def test_full_batches_give_the_bits_of_the_plain_formula() -> None:
    """The share of a full batch is 1, and changes no bit in f32."""
    x, y = RNG.standard_normal((40, 3)).astype(np.float32), RNG.standard_normal(40).astype(np.float32)
    layer, plain = run(NORMALISED.replace("  precision = f64\n", "").replace("MORE", "")), run(FULL)
    for program in (layer, plain):
        program.steps({"x": x, "y": y}, np.arange(40), 0)
    for name in ("mean", "var"):
        np.testing.assert_array_equal(layer.persistent[f"h.batchnorm.{name}"], plain.persistent[name])


def test_sequences_and_chunks_count_their_samples() -> None:
    """Of four sequences in batches of three, the last counts a third; so do chunks that fewer sequences reach."""
    text = NORMALISED.replace("float[3]", "float[t <= 9, 3]").replace("target y: float", "target y: float[t]")
    text = text.replace("batch = 8", "batch = 3")
    lengths = (4, 9, 2, 5)
    x = [RNG.standard_normal((n, 3)) for n in lengths]
    y = [RNG.standard_normal(n) for n in lengths]
    unbroken = [(np.concatenate(x[:3]), 3), (x[3], 1)]
    chunks = [
        (np.concatenate([x[0][:4], x[1][:4], x[2][:4]]), 3),
        (x[1][4:8], 1),
        (x[1][8:], 1),
        (x[3][:4], 1),
        (x[3][4:], 1),
    ]
    for more, batches in (("", unbroken), ("  truncate = (t = 4)\n", chunks)):
        program = run(text.replace("MORE", more), "reference")
        fields = program.compiled.fields.ready({"x": x, "y": y})
        program.steps(fields, np.arange(4), 0)
        mean, var = running(batches, 3)
        np.testing.assert_allclose(program.persistent["h.batchnorm.mean"], mean, rtol=1e-12)
        np.testing.assert_allclose(program.persistent["h.batchnorm.var"], var, rtol=1e-12)


def test_a_prediction_does_not_depend_on_the_size_of_its_batch() -> None:
    text = "model {\n  input x: float[2]\n  output p = x * batch_share()\n}\ntrain {\n  batch = 4\n}\n"
    x = np.arange(10.0, dtype=np.float32).reshape(5, 2)
    np.testing.assert_array_equal(run(text).predict({"x": x})["p"], x)


WEIGHTED = """
model {
  input x: float[3]
  target y: float
  target w: float
  z = x -> dense(1) -> squeeze
  output p = z
  loss weighted(square(z - y), w)
}
train {
  precision = f64
  optimizer = sgd(lr = 0.1)
  batch = 4
MORE}
"""


@pytest.mark.parametrize("more", ["", "  accumulate = 2\n", "  accumulate = 3\n"])
@pytest.mark.parametrize("backend", ["reference", "plan", "cpu"])
def test_a_batch_whose_weights_are_0_contributes_nothing(backend: str, more: str) -> None:
    """Training gives the bits of a training without these samples, in steps of the others."""
    x, y = RNG.standard_normal((12, 3)), RNG.standard_normal(12)
    w = np.array([1.0, 2, 0, 1, 0, 0, 0, 0, 1, 0, 0, 3])
    fields = {"x": x, "y": y, "w": w}
    program, without = run(WEIGHTED.replace("MORE", more), backend), run(WEIGHTED.replace("MORE", more), backend)
    losses = program.steps(fields, np.arange(12), 0)
    kept = np.r_[0:4, 8:12]
    steps = [kept] if "3" in more else [kept[:4], kept[4:]]
    for step in steps:
        without.steps(fields, step, 0)
    np.testing.assert_array_equal(program.persistent["z.dense.W"], without.persistent["z.dense.W"])
    assert all(np.isfinite(values).all() for values in losses.values.values())
    (name,) = set(losses.values) - {"loss"}
    assert losses.counts[name].sum() == 8


def test_weights_of_0_leave_the_mean_of_an_epoch_as_it_is(tmp_path: Path) -> None:
    x, y = RNG.standard_normal((8, 3)), RNG.standard_normal(8)
    w = np.array([1.0, 2, 0, 1, 0, 0, 0, 0])
    model = netc.parse(WEIGHTED.replace("MORE", "  shuffle = false\n"))
    trained = netc.train(model, {"x": x, "y": y, "w": w}, tmp_path / "run", epochs=1)
    program = netc.compile(model)
    expected = (w * (program.predict({"x": x})["p"] - y) ** 2).sum() / w.sum()
    assert trained.metrics[0]["train.loss"] == pytest.approx(expected, rel=1e-12)
    with pytest.raises(netc.Fault, match=r"E1002.*weights of the loss `weighted` add up to 0"):
        netc.train(model, {"x": x, "y": y, "w": 0 * w}, tmp_path / "nothing", epochs=1)


SETTINGS = netc.parse("model {\n  input x: float\n  output p = x\n}\n").train
LOWER, HIGHER = Better("valid.loss", False, NOWHERE), Better("valid.loss", True, NOWHERE)


def rows(values: list[float]) -> list[dict[str, float]]:
    return [{"valid.loss": value} for value in values]


@pytest.mark.parametrize(
    ("better", "values", "epochs"),
    [
        # a thousandth of the size is not an improvement, whatever the sign
        (LOWER, [1.0, 0.9999, 0.999, 0.997, 0.99], [0, 3, 4]),
        (LOWER, [-1.0, -1.0001, -1.001, -1.003, -1.01], [0, 3, 4]),
        (HIGHER, [-1.0, -0.9999, -0.999, -0.997, -0.99], [0, 3, 4]),
        (HIGHER, [1.0, 1.0001, 1.001, 1.003, 1.01], [0, 3, 4]),
        (LOWER, [0.001, 0.0, -1e-9], [0, 1, 2]),
        (LOWER, [float("inf"), float("inf"), 5.0], [0, 2]),
        (HIGHER, [NAN, 2.0, NAN, 3.0], [1, 3]),
    ],
)
def test_margins_are_relative_to_the_size_of_the_best(better: Better, values: list[float], epochs: list[int]) -> None:
    best, improved = NAN, []
    for epoch, value in enumerate(values):
        if better.improves(value, best, 0.002):
            best = value
            improved.append(epoch)
    assert improved == epochs


def test_a_negative_metric_that_improves_ends_no_plateau() -> None:
    """PyTorch's relative threshold asks less than nothing of a metric below 0, and takes a worse one for better."""
    train = replace(SETTINGS, plateau=Plateau(LOWER, 1, 0.5, margin=0.1))
    worse = [-10.0, -9.5, -9.4, -9.3, -9.2]
    assert Decisions(train, rows(worse)).rate == 0.25
    better = [-10.0, -11.5, -13.0, -15.0, -18.0]
    assert Decisions(train, rows(better)).rate == 1.0


def test_a_plateau_of_positive_metrics_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for is_higher in (False, True):
        train = replace(SETTINGS, plateau=Plateau(HIGHER if is_higher else LOWER, 2, 0.5))
        for seed in range(20):
            values = np.random.default_rng(seed).uniform(0.5, 0.5 + 10.0 ** -(seed % 6), 30).tolist()
            optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, "max" if is_higher else "min", factor=0.5, patience=2, eps=0
            )
            decisions = Decisions(train, ())
            for value in rows(values):
                plateau.step(value["valid.loss"])
                decisions.take(value)
                assert decisions.rate == optimizer.param_groups[0]["lr"]


def test_patience_counts_from_the_first_value() -> None:
    train = replace(SETTINGS, early_stop=EarlyStop(LOWER, 2), plateau=Plateau(LOWER, 1, 0.5), keep=LOWER)
    early = Decisions(train, rows([NAN] * 9))
    assert not early.is_over
    assert early.rate == 1.0
    assert early.describe_kept == "keep: no epoch has a value of valid.loss; the last epoch's parameters stay"
    assert Decisions(train, rows([NAN] * 9 + [3.0, NAN, 4.0])).is_over


def test_keep_compares_with_the_epoch_that_was_kept() -> None:
    """A `keep` that changed meanwhile: the parameters of other epochs are gone."""
    train = replace(SETTINGS, keep=LOWER)
    decisions = Decisions(train, rows([1.0, 5.0, 3.0]), kept=2)
    assert decisions.take({"valid.loss": 4.0})
    assert decisions.describe_kept == "kept epoch 4: valid.loss 4"
    assert Decisions(train, rows([1.0, 2.0]), kept=None).take({"valid.loss": 9.0})


def test_training_takes_at_least_one_epoch(tmp_path: Path) -> None:
    model = netc.parse(WEIGHTED.replace("MORE", ""))
    with pytest.raises(ValueError, match="at least 1"):
        netc.train(model, {"x": np.ones((2, 3)), "y": np.ones(2), "w": np.ones(2)}, tmp_path / "run", epochs=0)
    assert not (tmp_path / "run").exists()
