"""Values that replace those of a file: `--set` with a `let`, a setting of `train`, an argument of the optimizer."""

import pytest

import netc
from netc.compiler.elaborate.elaborator import elaborate
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.resolved import resolved_text

_MODEL = """
model {
  input x: float[4]
  target y: float
  h = x -> dense(width) -> tanh -> dense(1) -> squeeze
  output z = h
  loss mse(h, y)
}
let width = 8
"""


def _model(text: str, **values: object) -> netc.Model:
    return elaborate(parse(Source("case.net", _MODEL + text)), values)


def test_a_let_comes_before_a_setting_and_an_argument() -> None:
    text = "let batch = 5\nlet lr = 0.5\ntrain {\n  batch = 2 * batch\n  optimizer = sgd(lr)\n}"
    train = _model(text, batch=7, lr=0.25).train
    assert (train.batch, train.optimizer.numbers["lr"]) == (14, 0.25)


@pytest.mark.parametrize("text", ["", "train {\n}", "train {\n  batch = 3\n}"])
def test_a_setting_is_replaced_or_added(text: str) -> None:
    train = _model(text, batch=64, precision="f64", shuffle=False, keep="best(train.loss)").train
    assert (train.batch, train.precision, train.shuffle) == (64, "f64", False)
    assert train.keep is not None
    assert train.keep.metric == "train.loss"


@pytest.mark.parametrize(
    "optimizer", ["sgd(0.1, 0.5)", "sgd(0.1, momentum = 0.5)", "sgd(momentum = 0.5, lr = 0.1)", "sgd(0.3, 0.5)"]
)
def test_an_argument_of_the_optimizer_is_replaced_wherever_it_stands(optimizer: str) -> None:
    train = _model(f"train {{\n  optimizer = {optimizer}\n}}", lr=0.1).train
    assert (train.optimizer.numbers["lr"], train.optimizer.numbers["momentum"]) == (0.1, 0.5)


def test_an_argument_belongs_to_the_optimizer_that_is_set() -> None:
    assert (
        _model("", optimizer="sgd", lr=0.1).train.optimizer.text()
        == _model("train {\n  optimizer = sgd(0.1)\n}").train.optimizer.text()
    )
    assert _model("", lr=0.125).train.optimizer.numbers["lr"] == 0.125  # adam is the default


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": 0}, "this must be a whole number, at least 1"),
        ({"optimizer": "adm"}, "did you mean `adam`?"),
        ({"optimizer": "adam(lr = "}, "error[E0102]"),
        ({"keep": "best(valid.loss)\n  batch = 3"}, "takes one expression"),
        ({"momentum": 0.5}, "the file has no `let momentum`"),
        ({"epoch": 3}, "did you mean `epochs`?"),
        ({"batch": 1 << 70}, "64 bits do not hold this number"),
    ],
)
def test_a_wrong_value_gives_a_message(values: dict[str, object], message: str) -> None:
    with pytest.raises(netc.Fault) as wrong:
        _model("", **values)
    assert message in str(wrong.value)


def test_the_resolved_file_has_the_values_that_are_set() -> None:
    model = _model("train {\n  epochs = 3\n}", clip_norm=2, batch=8, lr=0.5)
    text = resolved_text(model)
    again = elaborate(parse(Source("case.net", text)))
    assert (again.train.clip_norm, again.train.batch, again.train.optimizer.numbers["lr"]) == (2.0, 8, 0.5)
