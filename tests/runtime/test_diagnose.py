"""Gradients are those of a hand-written backward pass, and each problem is found at its line."""

import json
from pathlib import Path

import numpy as np
import pytest
from support import command

import netc
from netc.compiler.ir.roles import Role
from netc.runtime.insight.diagnose import Diagnosed, diagnose
from netc.runtime.insight.findings import Recurrence
from netc.runtime.runs.run import Run

HEAD = """data {
  source = jsonl("t.jsonl")
  x = field("x")
  y = field("y")
  split = (train = 0.8, test = 0.2)
}
"""


def trained(folder: Path, model: str, x: list, y: list, blocks: str = "", settings: str = "") -> Run:
    """A run of one epoch whose weights hardly move."""
    folder.mkdir(exist_ok=True)
    rows = (
        json.dumps({"x": np.asarray(sample).tolist(), "y": np.asarray(target).tolist()})
        for sample, target in zip(x, y, strict=True)
    )
    (folder / "t.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "m.net").write_text(
        (
            f"{blocks}{HEAD}model {{\n{model}}}\ntrain {{\n  optimizer = sgd(lr = 1e-9)\n  batch = 16\n  epochs = 1\n"
            f"{settings}}}\n"
        ),
        encoding="utf-8",
    )
    return netc.train(netc.load(folder / "m.net"), out=folder / "run")


def codes(diagnosed: Diagnosed) -> list[tuple[str, int]]:
    return [(finding.code, finding.primary.span.line) for finding in diagnosed.findings]


SEQUENCE = "  input x: float[time, 2]\n  target y: float\n"


@pytest.mark.parametrize("each_step", [False, True])
def test_gradients_at_each_step_agree_with_a_hand_written_backward_pass(tmp_path: Path, each_step: bool) -> None:
    rng = np.random.default_rng(3)
    lengths = rng.integers(5, 9, 20)
    x = [rng.standard_normal((n, 2)) for n in lengths]
    y = [rng.standard_normal(n if each_step else ()) for n in lengths]
    text = SEQUENCE.replace("target y: float", "target y: float[time]") if each_step else SEQUENCE
    last = "squeeze(h -> dense(1))" if each_step else "squeeze(last(h) -> dense(1))"
    model = f"{text}  h = x -> rnn(4)\n  z = {last}\n  output z = z\n  loss (z - y) ** 2\n"
    run = trained(tmp_path, model, x, y, settings="  precision = f64\n")
    (reach,) = diagnose(run).reaches
    cell = {name.rpartition(".")[2]: array for name, array in run.program.parameters.items() if name.startswith("h.")}
    out = {name.rpartition(".")[2]: array for name, array in run.program.parameters.items() if name.startswith("z.")}
    fields = run.load_data().parts["train"]
    from netc.runtime.random import permutation

    sizes: list[list[float]] = [[] for _ in range(9)]
    inputs, targets = list(fields["x"]), list(fields["y"])
    for i in permutation(len(inputs), 0, 0)[:16]:
        states = [np.zeros(4)]
        for step in inputs[i]:
            states.append(np.tanh(step @ cell["W"] + states[-1] @ cell["U"] + cell["b"]))
        target = targets[i][-1] if each_step else targets[i]
        gradient = 2 * (states[-1] @ out["W"] + out["b"] - target) * out["W"][:, 0]
        for k, state in enumerate(reversed(states[1:])):
            gradient = (gradient * (1 - state**2)) @ cell["U"].T
            sizes[k].append(float(np.linalg.norm(gradient)))
    expected = [np.mean(at_step) for at_step in sizes if at_step]
    np.testing.assert_allclose(reach.sizes, expected[: len(reach.sizes)], rtol=1e-9)
    assert reach.name == "h"


def test_vanishing_gradients_are_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x, y = [rng.standard_normal((40, 2)) for _ in range(40)], rng.standard_normal(40)
    block = """# neither lstm nor orthogonal, and no gru
block fading(x: float[t, n]) {
  hs = scan xt in x with h = zeros(n) {
    h = 0.3 * h + xt
    yield h
  }
  return hs
}
"""
    model = (
        f"{SEQUENCE}  h = x -> dense(4) -> fading\n  z = squeeze(last(h) -> dense(1))\n  output z = z\n"
        "  loss mse(z, y)\n"
    )
    fading = diagnose(trained(tmp_path / "one", model, x, list(y), block))
    growing = diagnose(trained(tmp_path / "two", model, x, list(y), block.replace("0.3 * h", "1.3 * h")))
    assert [code for code, _ in codes(fading)] == ["W1001"]
    assert "6 of 40" in fading.findings[0].title
    assert "lstm(n) or gru(n)" in (fading.findings[0].hint or "")
    assert "orthogonal" in (fading.findings[0].hint or "")
    assert fading.findings[0].primary.span.text == "scan"
    assert [code for code, _ in codes(growing)] == ["W1002"]
    assert "clip_norm = 1" in (growing.findings[0].hint or "")


@pytest.mark.parametrize(
    ("layer", "is_gated", "may_forget_less", "may_be_orthogonal"),
    [
        ("rnn(4)", False, False, False),
        ("gru(4)", True, False, False),
        ("lstm(4)", True, True, False),
        ("lstm(4, forget = 3)", True, False, False),
        ("lstm_peephole(4)", True, True, False),
        ("bidirectional(lstm(4))", True, True, False),
        ("own", False, False, True),
    ],
)
def test_the_kind_of_a_recurrence_is_that_of_the_model(
    layer: str, is_gated: bool, may_forget_less: bool, may_be_orthogonal: bool
) -> None:
    """The comment in the file says something else."""
    model = netc.parse(
        """block own(x: float[t, n]) {
  param U: float[n, n] = glorot_uniform
  hs = scan xt in x with h = zeros(n) {
    h = tanh(h @ U + xt)
    yield h
  }
  return hs
}
model {
  input x: float[time, 2]
  z = x -> LAYER  # lstm, gru, forget, orthogonal
  output z = z
  loss mean(square(z))
}
""".replace("LAYER", layer)
    )
    (span,) = {scan.span for scan in model.graph.values(Role.SCAN)}
    recurrence = Recurrence.at(model, span)
    assert recurrence.is_gated == is_gated
    assert recurrence.may_forget_less == may_forget_less
    assert recurrence.may_be_orthogonal == may_be_orthogonal


PLAIN = "  input x: float[8]\n  target y: float\n"


@pytest.mark.parametrize(
    ("layer", "code"),
    [
        ("h = x -> gone(0 - 100) -> relu", "W1004"),
        ("h = x -> gone(100) -> relu", None),
        ("h = x -> gone(100) -> tanh", "W1005"),
        ("h = x -> gone(0) -> tanh", None),
    ],
)
def test_saturated_units_are_found(tmp_path: Path, layer: str, code: str | None) -> None:
    rng = np.random.default_rng(3)
    x, y = list(rng.standard_normal((60, 8))), list(rng.standard_normal(60))
    block = "block gone(x: float[n], by) {\n  param W: float[n, 6] = glorot_uniform\n  return x @ W + by\n}\n"
    model = (
        f"{PLAIN}  {layer}\n  z = squeeze(h -> dense(1)) + squeeze(x -> dense(1))\n  output z = z\n  loss mse(z, y)\n"
    )
    diagnosed = diagnose(trained(tmp_path, model, x, y, block))
    assert [warning for warning, _ in codes(diagnosed) if warning in ("W1004", "W1005")] == ([code] if code else [])
    assert diagnosed.units[0].count == 6


def test_the_command_warns_of_many_sigmoids(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x, y = list(rng.standard_normal((60, 8))), list(rng.standard_normal(60))
    deep = "  h = x\n  for i in 0..9 {\n    h = h -> dense(6) -> sigmoid\n  }\n"
    trained(tmp_path, f"{PLAIN}{deep}  z = squeeze(h -> dense(1))\n  output z = z\n  loss mse(z, y)\n", x, y)
    done = command("diagnose", "run", cwd=tmp_path)
    assert done.returncode == 0
    assert "warning[W1003]: the gradient vanishes on its way through the layers" in done.stderr
    assert "h[0].dense.W" in done.stdout
    assert (tmp_path / "run" / "gradients.svg").read_bytes().startswith(b"<svg")
    again = command("train", "m.net", cwd=tmp_path)
    assert "W1003" in again.stderr, "a warning while training"


def test_nothing_has_to_change_in_a_good_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x, y = list(rng.standard_normal((60, 8))), list(rng.standard_normal(60))
    trained(
        tmp_path, f"{PLAIN}  z = squeeze(x -> dense(9) -> tanh -> dense(1))\n  output z = z\n  loss mse(z, y)\n", x, y
    )
    done = command("diagnose", "run", cwd=tmp_path)
    assert "nothing to change: no gradient vanishes or explodes, no unit is dead or saturated" in done.stdout
    assert not done.stderr


def test_a_fixed_length_is_diagnosed_like_a_varying_one(tmp_path: Path) -> None:
    """The same numbers, for losses at each step of sequences that all have 12."""
    rng = np.random.default_rng(3)
    x, y = [rng.standard_normal((12, 2)) for _ in range(40)], [rng.standard_normal(12) for _ in range(40)]
    model = (
        "  input x: float[time, 2]\n  target y: float[time]\n  h = x -> rnn(4)\n  z = squeeze(h -> dense(1))\n"
        "  output z = z\n  loss (z - y) ** 2\n"
    )
    varying = diagnose(trained(tmp_path / "varying", model, x, y, settings="  precision = f64\n"))
    fixed_model = model.replace("time", "12")
    fixed = diagnose(trained(tmp_path / "fixed", fixed_model, x, y, settings="  precision = f64\n"))
    assert len(fixed.reaches) == len(varying.reaches) == 1
    np.testing.assert_allclose(fixed.reaches[0].sizes, varying.reaches[0].sizes, rtol=1e-9)
    assert [code for code, _ in codes(fixed)] == [code for code, _ in codes(varying)]


@pytest.mark.parametrize(("layer", "hint"), [("rnn(4)", "attention to earlier steps"), ("gru(4)", None)])
def test_a_gated_layer_with_a_loss_at_each_step_need_not_look_far_back(
    tmp_path: Path, layer: str, hint: str | None
) -> None:
    rng = np.random.default_rng(3)
    x, y = [rng.standard_normal((60, 2)) for _ in range(40)], [rng.standard_normal(60) for _ in range(40)]
    model = (
        f"  input x: float[time, 2]\n  target y: float[time]\n  h = x -> {layer}\n  z = squeeze(h -> dense(1))\n"
        "  output z = z\n  loss (z - y) ** 2\n"
    )
    hints = [finding.hint or "" for finding in diagnose(trained(tmp_path, model, x, y)).findings]
    assert [hint in text for text in hints] == [True] if hint is not None else not hints


def test_the_layers_of_a_line_give_one_warning_and_its_cause_comes_first(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x, y = list(rng.standard_normal((60, 8))), list(rng.standard_normal(60))
    block = "block gone(x: float[n], by) {\n  param W: float[n, 6] = glorot_uniform\n  return x @ W + by\n}\n"
    model = (
        f"{PLAIN}  h = x\n  for i in 0..3 {{\n    h = h -> gone(0 - 100) -> relu\n  }}\n"
        "  z = squeeze(h -> dense(1)) + squeeze(x -> dense(1))\n  output z = z\n  loss mse(z, y)\n"
    )
    (plain,) = [f for f in diagnose(trained(tmp_path / "plain", model, x, y, block)).findings if f.code == "W1004"]
    assert plain.title == "6 of 6, 6 of 6 and 6 of 6 units are dead in 3 layers"
    assert (plain.hint or "").startswith("a smaller lr")
    unscaled = [row * np.array([1000, *[1] * 7]) for row in x]
    of_scales = diagnose(trained(tmp_path / "scales", model, unscaled, y, block)).findings
    (other,) = [finding for finding in of_scales if finding.code == "W1004"]
    assert (other.hint or "").startswith("the columns of `x` are of very different scale (W0801)")
