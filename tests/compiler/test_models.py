"""Whole models on both backends, and compared with PyTorch if it is installed (the extra `oracle`)."""

import numpy as np
import pytest

import netc
from netc.dsl.structs import replace
from netc.runtime.training import schedule
from netc.runtime.training.decisions import PlateauRate

MODELS = {
    "regression": (
        """model {
  input x: float[5]
  target y: float
  h = x -> dense(33) -> relu -> dense(7) -> tanh
  output z = h -> dense(1) -> squeeze
  loss mse(z, y)
}
train { precision = f64, batch = 9 }""".replace(", batch", "\n batch"),
        lambda nn: nn.Sequential(
            nn.Linear(5, 33), nn.ReLU(), nn.Linear(33, 7), nn.Tanh(), nn.Linear(7, 1), nn.Flatten(0)
        ),
    ),
    "classification": (
        """model {
  input x: float[12]
  target y: class(10)
  logits = x -> dense(40) -> sigmoid -> dense(10)
  output p = softmax(logits)
  loss cross_entropy(logits, y)
  metric accuracy(logits, y)
}
train { precision = f64
 batch = 9 }""",
        lambda nn: nn.Sequential(nn.Linear(12, 40), nn.Sigmoid(), nn.Linear(40, 10)),
    ),
    "deep": (
        """let width = 17
model {
  input x: float[6]
  target y: float[3]
  h = x
  for i in 0..3 { h = h -> dense(width) -> gelu }
  output z = h -> dense(3)
  loss mse(z, y)
}
train { precision = f64
 batch = 9 }""",
        lambda nn: nn.Sequential(
            nn.Linear(6, 17), nn.GELU(), nn.Linear(17, 17), nn.GELU(), nn.Linear(17, 17), nn.GELU(), nn.Linear(17, 3)
        ),
    ),
}


def batch_for(model: netc.Model, count: int) -> dict:
    rng = np.random.default_rng(0)
    return {
        name: rng.integers(0, type_.classes, type_.shape(count)).astype(np.int32)
        if type_.classes
        else rng.standard_normal(type_.shape(count))
        for name, type_ in {**model.inputs, **model.targets}.items()
    }


@pytest.mark.parametrize("count", [9, 4])
@pytest.mark.parametrize("name", MODELS)
def test_both_backends_agree(name: str, count: int) -> None:
    model = netc.parse(MODELS[name][0])
    fields = batch_for(model, count)
    ours, meaning = netc.compile(model), netc.compile(model, backend="reference")
    loss, gradients = ours.gradients(fields, wrt=("x",))
    expected_loss, expected = meaning.gradients(fields, wrt=("x",))
    assert abs(loss - expected_loss) < 1e-12
    for key in expected:
        np.testing.assert_allclose(gradients[key], expected[key], atol=1e-12, err_msg=key)
    for _ in range(3):
        assert abs(ours.step(fields)["loss"] - meaning.step(fields)["loss"]) < 1e-12
    for key in meaning.parameters:
        np.testing.assert_allclose(ours.parameters[key], meaning.parameters[key], atol=1e-12, err_msg=key)
    metrics, meant = ours.evaluate(fields), meaning.evaluate(fields)
    assert metrics.keys() == meant.keys()
    assert all(abs(metrics[key] - meant[key]) < 1e-12 for key in meant)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", MODELS)
def test_models_agree_with_pytorch(name: str, backend: str) -> None:
    torch = pytest.importorskip("torch")
    text, make = MODELS[name]
    model = netc.parse(text)
    program, fields = netc.compile(model, backend=backend), batch_for(model, 9)
    net = make(torch.nn).double()
    pairs = list(zip(model.parameters, net.parameters(), strict=True))
    with torch.no_grad():
        for key, parameter in pairs:
            parameter.copy_(torch.tensor(program.parameters[key].T.copy()))
    out, y = net(torch.tensor(fields["x"])), torch.tensor(fields["y"])
    loss = (
        torch.nn.functional.cross_entropy(out, y.long())
        if name == "classification"
        else torch.nn.functional.mse_loss(out, y)
    )
    loss.backward()
    actual, gradients = program.gradients(fields)
    assert abs(actual - loss.item()) < 1e-9
    for key, parameter in pairs:
        np.testing.assert_allclose(gradients[key], parameter.grad.numpy().T, atol=1e-9, err_msg=key)


OPTIMIZERS = {
    "sgd(lr = 0.1)": lambda torch, p: torch.optim.SGD(p, lr=0.1),
    "sgd(lr = 0.1, momentum = 0.9)": lambda torch, p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd(0.05, 0.9, nesterov = true, decay = 0.01)": lambda torch, p: torch.optim.SGD(
        p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    "adam(lr = 0.01)": lambda torch, p: torch.optim.Adam(p, lr=0.01),
    "adam(lr = 0.01, decay = 0.1)": lambda torch, p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "adamw(lr = 0.01, decay = 0.1)": lambda torch, p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "adamw(lr = 0.01)": lambda torch, p: torch.optim.AdamW(p, lr=0.01),
    "rmsprop(lr = 0.01)": lambda torch, p: torch.optim.RMSprop(p, lr=0.01),
    "rmsprop(0.001, alpha = 0.9, momentum = 0.9, decay = 0.1)": lambda torch, p: torch.optim.RMSprop(
        p, lr=0.001, alpha=0.9, momentum=0.9, weight_decay=0.1
    ),
    "adagrad()": lambda torch, p: torch.optim.Adagrad(p),
    "adagrad(0.1, lr_decay = 0.1, decay = 0.01)": lambda torch, p: torch.optim.Adagrad(
        p, lr=0.1, lr_decay=0.1, weight_decay=0.01
    ),
}


def check_beside_pytorch(setting: str, make, more: str = "", clip=None, scheduler=None, factors=None) -> None:
    """Takes 100 steps with netc and PyTorch from the same weights and asserts equal losses.

    Decay applies to all parameters, biases too, as in PyTorch.
    """
    torch = pytest.importorskip("torch")
    text = MODELS["regression"][0].replace("train {", f"train {{ optimizer = {setting}\n{more}\n")
    model = netc.parse(text)
    for info in list(model.trainables.values()):
        model.trainables[info.name] = replace(info, decay=True)
    program, fields = netc.compile(model), batch_for(model, 9)
    net = MODELS["regression"][1](torch.nn).double()
    with torch.no_grad():
        for key, parameter in zip(model.parameters, net.parameters(), strict=True):
            parameter.copy_(torch.tensor(program.parameters[key].T.copy()))
    optimizer = make(torch, net.parameters())
    schedule = scheduler(torch, optimizer) if scheduler else None
    for step in range(100):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(torch.tensor(fields["x"])), torch.tensor(fields["y"]))
        loss.backward()
        if clip:
            clip(torch, net.parameters())
        optimizer.step()
        if schedule:
            schedule.step()
        moved = factors(model, step) if factors else None
        actual = program.steps(fields, np.arange(9), 0, moved).values["loss"][0]
        assert abs(actual - loss.item()) < 1e-9


@pytest.mark.parametrize("setting", OPTIMIZERS)
def test_optimizers_agree_with_pytorch(setting: str) -> None:
    check_beside_pytorch(setting, OPTIMIZERS[setting])


@pytest.mark.parametrize(
    ("more", "clip"),
    [
        ("clip_norm = 0.05", lambda torch, p: torch.nn.utils.clip_grad_norm_(p, 0.05)),
        ("clip_norm = 1000", lambda torch, p: torch.nn.utils.clip_grad_norm_(p, 1000)),
        ("clip_value = 0.01", lambda torch, p: torch.nn.utils.clip_grad_value_(p, 0.01)),
    ],
)
def test_clipping_agrees_with_pytorch(more: str, clip) -> None:
    setting = "sgd(lr = 0.1, momentum = 0.9)"
    check_beside_pytorch(setting, OPTIMIZERS[setting], more, clip)


@pytest.mark.parametrize(
    ("more", "scheduler"),
    [
        ("schedule = cosine\nepochs = 100", lambda t, o: t.optim.lr_scheduler.CosineAnnealingLR(o, 100)),
        ("schedule = step_decay(30, 0.3)", lambda t, o: t.optim.lr_scheduler.StepLR(o, 30, 0.3)),
        ("schedule = step_decay(every = 7, factor = 0.9)", lambda t, o: t.optim.lr_scheduler.StepLR(o, 7, 0.9)),
        ("schedule = exponential(0.97)", lambda t, o: t.optim.lr_scheduler.ExponentialLR(o, 0.97)),
        ("schedule = 1 / (1 + step)", lambda t, o: t.optim.lr_scheduler.LambdaLR(o, lambda n: 1 / (1 + n))),
        (
            "schedule = where(progress < 0.5, 1, 0.25) * 0.5\nepochs = 100",
            lambda t, o: t.optim.lr_scheduler.LambdaLR(o, lambda n: 0.5 if n < 50 else 0.125),
        ),
        (
            "schedule = cosine(warmup = 20)\nepochs = 100",
            lambda t, o: t.optim.lr_scheduler.LambdaLR(
                o, lambda n: n / 20 if n < 20 else 0.5 + 0.5 * np.cos(np.pi * (n - 20) / 80)
            ),
        ),
    ],
)
def test_schedules_agree_with_pytorch(more: str, scheduler) -> None:
    """With one step per epoch, because PyTorch's schedulers step once per epoch."""
    for setting in ("sgd(lr = 0.1, momentum = 0.9)", "adam(lr = 0.01)", "adamw(lr = 0.01, decay = 0.1)"):
        check_beside_pytorch(
            setting,
            OPTIMIZERS[setting],
            more,
            scheduler=scheduler,
            factors=lambda model, step: schedule.scheduled(model.train, np.array([step]), 1),
        )


def test_a_plateau_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    plateau = netc.parse(
        MODELS["regression"][0].replace("train {", "train { schedule = plateau(3, 0.5)\n")
    ).train.plateau
    rng = np.random.default_rng(0)
    losses = np.round(1 / np.arange(1, 81) ** 0.3 + 0.05 * rng.random(80), 3)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
    rate = PlateauRate(plateau)
    for epoch, loss in enumerate(losses, 1):
        scheduler.step(loss)
        rate.take({"valid.loss": float(loss)}, epoch)
        assert rate.factor == pytest.approx(optimizer.param_groups[0]["lr"])
    assert optimizer.param_groups[0]["lr"] < 0.2


def test_frozen_parameters_stay_and_rates_are_scaled() -> None:
    text = MODELS["regression"][0]
    names = list(netc.parse(text).parameters)
    more = f'train {{ optimizer = sgd(lr = 0.1)\n freeze = "{names[0]}"\n lr_scale = ("{names[-1]}" = 0.1)\n'
    plain, changed = (
        netc.compile(netc.parse(model_text))
        for model_text in (
            text.replace("train {", "train { optimizer = sgd(lr = 0.1)\n"),
            text.replace("train {", more),
        )
    )
    fields = batch_for(plain.model, 9)
    before = {name: array.copy() for name, array in plain.parameters.items()}
    plain.step(fields)
    changed.step(fields)
    assert np.array_equal(changed.parameters[names[0]], before[names[0]])
    for name in names[1:]:
        moved = (plain.parameters[name] - before[name]) * (0.1 if name == names[-1] else 1)
        np.testing.assert_allclose(changed.parameters[name] - before[name], moved, rtol=1e-10)


def test_decay_leaves_out_parameters_that_say_so() -> None:
    text = MODELS["regression"][0]
    plain, decayed = (
        netc.compile(netc.parse(text.replace("train {", f"train {{ optimizer = sgd(lr = 0.1, decay = {decay})\n")))
        for decay in (0, 5)
    )
    fields = batch_for(plain.model, 9)
    for program in (plain, decayed):
        for name, array in program.parameters.items():
            array += 1 if name.endswith("b") else 0
    before = {name: array.copy() for name, array in plain.parameters.items()}
    plain.step(fields)
    decayed.step(fields)
    for name, array in plain.parameters.items():
        less = 0 if name.endswith("b") else 0.5 * before[name]  # `dense` declares its bias with `decay = no`
        np.testing.assert_allclose(decayed.parameters[name], array - less, rtol=1e-10, atol=1e-14)


def test_parameters_are_named_by_their_path() -> None:
    model = netc.parse("""block unit(x: float[n], m) {
  h = x -> dense(m) -> tanh
  return h -> dense(m)
}
layer shared = dense(4)
model {
  input x: float[4]
  target y: float[4]
  a = x -> unit(4) -> unit(4)
  a = a -> dense(4)
  for i in 0..2 { a = a -> dense(4) }
  b = shared(a) + shared(x) + a @ shared.W
  output z = b -> dense(4) -> dense(4)
  loss mse(z, y)
}""")
    assert set(model.parameters) == {
        f"{name}.{letter}"
        for letter in "Wb"
        for name in (
            "a.unit.h.dense",
            "a.unit.dense",
            "a.unit_2.h.dense",
            "a.unit_2.dense",
            "a_2.dense",
            "a[0].dense",
            "a[1].dense",
            "shared",
            "z.dense",
            "z.dense_2",
        )
    }


def test_set_replaces_a_let_and_imports_bring_blocks(tmp_path) -> None:
    (tmp_path / "blocks.net").write_text(
        "op swish(x) = x * sigmoid(x)\nblock twice(x: float[n]) {\n  return x -> dense(n) -> swish -> dense(n)\n}\n",
        encoding="utf-8",
    )
    (tmp_path / "m.net").write_text(
        (
            'import "blocks.net" as b\nlet wide = 3\nlet deep = false\nmodel {\n  input x: float[wide]\n'
            "  output y = (x -> b.twice if deep else x -> dense(2)) -> relu\n}\n"
        ),
        encoding="utf-8",
    )
    assert netc.load(tmp_path / "m.net").outputs["y"].dims == ("batch", 2)
    model = netc.load(tmp_path / "m.net", wide=5, deep=True)
    assert model.outputs["y"].dims == ("batch", 5)
    x = np.ones((2, 5), np.float32)
    np.testing.assert_allclose(
        netc.compile(model).predict({"x": x})["y"],
        netc.compile(model, backend="reference").predict({"x": x})["y"],
        atol=1e-6,
    )


def test_an_index_of_each_sample_selects_an_element() -> None:
    model = netc.parse(
        "model {\n  input x: float[4, 2]\n  input k: class(4)\n  param t: float[4, 3] = normal(1)\n"
        "  output y = x[k]\n  output z = t[k]\n}"
    )
    x, k = np.arange(24, dtype=np.float32).reshape(3, 4, 2), np.array([3, 0, 2], np.int32)
    program = netc.compile(model)
    predicted = program.predict({"x": x, "k": k})
    np.testing.assert_array_equal(predicted["y"], x[np.arange(3), k])
    np.testing.assert_array_equal(predicted["z"], program.parameters["t"][k])


STATES = """block centre(x: float[n]) {
  state mean_so_far: float[n] = zeros
  now = mean(x, over = batch)
  update mean_so_far = 0.9 * mean_so_far + 0.1 * now
  return x - (now if training else mean_so_far)
}
model {
  input x: float[3]
  target y: float[2]
  h = x -> centre -> dense(2)
  output p = h
  output unused = x -> dense(4)
  loss mse(h, y)
}
train {
  optimizer = sgd(lr = 0.1)
  precision = f64
  batch = 8
}
"""


AS_ARGUMENT = (
    STATES.replace("x: float[n])", "x: float[n], moves = false)")
    .replace("if training", "if moves")
    .replace("-> centre", "-> centre(moves = training)")
)


@pytest.mark.parametrize("text", [STATES, AS_ARGUMENT])
def test_states_change_in_training_and_not_in_prediction(text: str) -> None:
    model = netc.parse(text)
    assert list(model.states) == ["h.centre.mean_so_far"]
    rng = np.random.default_rng(0)
    fields = {"x": rng.standard_normal((8, 3)) + 5, "y": rng.standard_normal((8, 2))}
    for backend in ("cpu", "reference"):
        program = netc.compile(model, backend=backend)
        state = program.persistent["h.centre.mean_so_far"]
        program.gradients(fields)
        program.predict(fields)
        assert not state.any(), "only a step moves a state"
        expected = np.zeros(3)
        for _ in range(3):
            program.step(fields)
            expected = 0.9 * expected + 0.1 * fields["x"].mean(axis=0)
            np.testing.assert_allclose(state, expected, rtol=1e-12)
        w, b = program.parameters["h.dense.W"], program.parameters["h.dense.b"]
        np.testing.assert_allclose(program.predict(fields)["p"], (fields["x"] - expected) @ w + b, rtol=1e-10)
        assert program.predict(fields)["unused"].shape == (8, 4), "a parameter that no loss reads"
    frozen = netc.compile(
        netc.parse(STATES.replace("precision", 'freeze = "h.centre*"\n  precision').replace("zeros", "ones"))
    )
    frozen.step(fields)
    assert (frozen.persistent["h.centre.mean_so_far"] == 1).all()


def test_a_shared_block_shares_all_its_layers() -> None:
    """Each parameter inside is shared with its counterpart, though two of them have the same name and shape."""
    text = """
block two(x: float[n]) {
  return x -> dense(4) -> tanh -> dense(4)
}
model {
  input x: float[4]
  layer f = two
  output once = f(x)
  output twice = f(f(x))
  output again = f(x)
}
train { precision = f64 }
"""
    program = netc.compile(netc.parse(text))
    assert sorted(program.parameters) == ["f.dense.W", "f.dense.b", "f.dense_2.W", "f.dense_2.b"]
    x = np.random.default_rng(0).standard_normal((3, 4))
    predicted = program.predict({"x": x})
    np.testing.assert_array_equal(predicted["once"], predicted["again"])
    np.testing.assert_allclose(predicted["twice"], program.predict({"x": predicted["once"]})["once"], rtol=1e-12)
