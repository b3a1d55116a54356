"""L-BFGS: its direction, its search along a line, and training with it, beside PyTorch's and after an interruption."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support import command, has_epochs, killed_once

import netc
from netc.runtime.training.lbfgs import History, Point, next_point
from netc.runtime.verification import Subject, verify

Array = np.ndarray
MODEL = """
model {
  input x: float[4]
  target y: float
  h = x -> dense(8) -> tanh -> dense(6) -> tanh -> dense(1) -> squeeze
  output z = h
  loss mse(h, y)
}
train {
  precision = f64
  optimizer = lbfgs
  batch = 64
}
"""
DRAW = np.random.default_rng(2)
X = DRAW.normal(size=(60, 4))
FIELDS = {"x": X, "y": np.sin(2 * X[:, 0]) * X[:, 1]}


def inverse(history: History, size: int) -> Array:
    """The approximation of the inverse of the second derivatives as a matrix, by the update of BFGS (6.17 of the
    book)."""
    rows = [*history.rows()]
    matrix = np.eye(size)
    if rows:
        move, change = history.moves[rows[0]], history.changes[rows[0]]
        matrix *= move @ change / (change @ change)
    for row in reversed(rows):
        move, change = history.moves[row], history.changes[row]
        factor = np.eye(size) - np.outer(change, move) / (move @ change)
        matrix = factor.T @ matrix @ factor + np.outer(move, move) / (move @ change)
    return matrix


@pytest.mark.parametrize("moves", [0, 1, 3, 4, 9])
def test_the_direction_is_that_of_the_matrix(moves: int) -> None:
    draw = np.random.default_rng(moves)
    history, gradient = History.of(4, 6), draw.normal(size=6)
    curvature = draw.normal(size=(6, 6))
    curvature = curvature @ curvature.T + np.eye(6)
    for _ in range(moves):
        move = draw.normal(size=6)
        history.add(move, curvature @ move)
    assert len([*history.rows()]) == min(moves, 4)
    assert np.allclose(history.direction(gradient), -inverse(history, 6) @ gradient, rtol=1e-9)


def test_a_move_against_the_curvature_is_forgotten() -> None:
    history = History.of(3, 2)
    history.add(np.array([1.0, 0.0]), np.array([-1.0, 0.5]))
    assert int(history.count) == 0


def descend(
    function: Callable[[Array], tuple[float, Array]], start: list[float], steps: int
) -> tuple[list[Point], int]:
    """The points of so many steps from a start, and how often the function was evaluated."""
    evaluations = 0

    def at(parameters: Array) -> Point:
        nonlocal evaluations
        evaluations += 1
        return Point(parameters, *function(parameters))

    history, points = History.of(10, len(start)), [at(np.array(start))]
    for _ in range(steps):
        following = next_point(points[-1], history, 1.0, at)
        if following is None:
            break
        points.append(following)
    return points, evaluations


def rosenbrock(p: Array) -> tuple[float, Array]:
    x, y = p
    slope = np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])
    return float((1 - x) ** 2 + 100 * (y - x * x) ** 2), slope


def walled(p: Array) -> tuple[float, Array]:
    """Has no value where x <= 0: the search must come back from there."""
    if p[0] <= 0:
        return np.nan, np.full(1, np.nan)
    return float(p[0] - np.log(p[0])), 1 - 1 / p


def test_the_minimum_of_a_curved_valley_is_reached() -> None:
    points, evaluations = descend(rosenbrock, [-1.2, 1.0], 100)
    assert np.allclose(points[-1].parameters, 1, atol=1e-6)
    assert evaluations < 80
    assert all(after.loss < before.loss for before, after in pairwise(points))


def test_the_search_comes_back_from_where_there_is_no_number() -> None:
    points, _ = descend(walled, [9.0], 60)
    assert points[-1].parameters == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_every_step_meets_the_wolfe_conditions(seed: int) -> None:
    """On random sums of waves and a bowl, unless the search has used up its evaluations."""
    draw = np.random.default_rng(seed)
    waves, phases, sizes = draw.normal(size=(5, 3)) * 2, draw.normal(size=5), draw.random(5)

    def function(p: Array) -> tuple[float, Array]:
        angles = waves @ p + phases
        return float(0.5 * p @ p + sizes @ np.sin(angles)), p + waves.T @ (sizes * np.cos(angles))

    points, _ = descend(function, draw.normal(size=3).tolist(), 30)
    assert len(points) > 3
    for before, after in pairwise(points):
        move = after.parameters - before.parameters
        slope = before.gradient @ move
        assert after.loss <= before.loss + 1e-4 * slope + 1e-15
        assert abs(after.gradient @ move) <= 0.9 * abs(slope) + 1e-12


def test_steps_are_those_of_pytorch() -> None:
    """In f64, before rounding has grown: with the same first weights the loss falls in the same way."""
    torch = pytest.importorskip("torch")
    program = netc.compile(netc.parse(MODEL), threads=1)
    weights = [torch.tensor(np.array(array), requires_grad=True) for array in program.parameters.values()]
    x, y = torch.tensor(FIELDS["x"]), torch.tensor(FIELDS["y"])

    def loss() -> object:
        h = torch.tanh(x @ weights[0] + weights[1])
        h = torch.tanh(h @ weights[2] + weights[3])
        return ((h @ weights[4] + weights[5]).squeeze(1) - y).square().mean()

    optimizer = torch.optim.LBFGS(
        weights, max_iter=8, history_size=100, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0
    )

    def closure() -> object:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    ours = [program.step(FIELDS)["loss"] for _ in range(8)][-1]
    assert ours == pytest.approx(float(loss().detach()), rel=1e-6)


@pytest.mark.parametrize("threads", [2, 3])
def test_steps_are_the_same_bits_on_threads(threads: int) -> None:
    programs = [netc.compile(netc.parse(MODEL), threads=count) for count in (1, threads)]
    for program in programs:
        program.workers.shares_small_steps = True
    losses = [[program.step(FIELDS)["loss"] for _ in range(12)] for program in programs]
    assert losses[0] == losses[1]
    assert losses[0][-1] < 0.3 * losses[0][0]


def test_verification_applies_to_a_model_that_is_trained_so() -> None:
    subject = Subject(netc.parse(MODEL), {name: field[:5] for name, field in FIELDS.items()})
    assert verify(subject, ["passes", "updates", "gradients", "accumulate", "many_steps"]) == []


def test_random_numbers_stay_the_same_during_a_search() -> None:
    """With dropout each step has a loss of its own, and its search sees one and the same."""
    text = MODEL.replace("-> dense(1)", "-> dropout(0.3) -> dense(1)")
    program = netc.compile(netc.parse(text), threads=1)
    order = np.arange(60)
    for epoch in range(6):
        step = program.training(FIELDS)
        before = program.run_step(step, FIELDS, order, epoch)["total"][0]
        assert program.steps(FIELDS, order, epoch).values["loss"][0] < before


def written(folder: Path, epochs: int) -> None:
    np.savetxt(folder / "t.csv", np.c_[X, FIELDS["y"]], delimiter=",", header="a,b,c,d,y", comments="")
    fields = 'x = columns("a", "b", "c", "d")\n  y = column("y")'
    data = f'data {{\n  source = csv("t.csv")\n  {fields}\n  split = (train = 1)\n}}'
    text = MODEL.replace("batch = 64", f"batch = 64\n  epochs = {epochs}").replace("f64", "f32")
    (folder / "m.net").write_text(data + text, encoding="utf-8")


def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    written(tmp_path, 60)
    uninterrupted = command("train", "m.net", "--out", "whole", cwd=tmp_path)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    killed_once(lambda: has_epochs(tmp_path / "cut", 6), "train", "m.net", "--out", "cut", cwd=tmp_path)
    resumed = command("train", "--resume", "cut", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    name = "checkpoint.safetensors"
    assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_training_ends_when_no_step_lowers_the_loss(tmp_path: Path) -> None:
    written(tmp_path, 3000)
    text = (tmp_path / "m.net").read_text(encoding="utf-8")
    text = text.replace("dense(8) -> tanh -> dense(6) -> tanh -> dense(1)", "dense(1)")  # a convex problem
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    done = command("train", "m.net", cwd=tmp_path)
    assert "no step along the gradient lowers the loss" in done.stdout
    run = netc.open(tmp_path / "runs/m")
    best = np.linalg.lstsq(np.c_[X, np.ones(60)], FIELDS["y"], rcond=None)[0]
    assert np.allclose(run.program.parameters["h.dense.W"][:, 0], best[:4], atol=1e-4)
    again = command("train", "--resume", "runs/m", cwd=tmp_path)
    assert "nothing is left to train" in again.stdout
    assert len(netc.open(tmp_path / "runs/m").metrics) == len(run.metrics)
