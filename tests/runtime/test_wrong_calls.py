"""Wrong arguments of the Python interface: each ends in a message that says what was expected."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.runtime.arguments import ArgumentFault, kind_of

NUMBERS = """model {
  input x: float[2]
  target y: float
  output z = x -> dense(1) -> squeeze
  loss mse(z, y)
}
train {
  batch = 8
  epochs = 1
}
"""
FITTED = NUMBERS.replace(
    "}\n", "  metric far = mean(fitted(mean(abs(z - y), over = batch)) + 0 * z, over = batch)\n}\n", 1
)
SEQUENCES = """model {
  input x: class(5)[t]
  target y: class(3)
  output z = x -> embed(4) -> gru(4) -> last -> dense(3)
  loss cross_entropy(z, y)
}
"""
X, Y = np.ones((4, 2)), np.ones(4)


def program(text: str) -> netc.Program:
    return netc.compile(netc.parse(text), threads=1, batch=8)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (1.0, "E0804]: `x` has the shape [], the model takes [samples, 2]"),
        ([1.0, 2.0], "E0804]: `x` has the shape [2], .*hint: one sample is a batch of one"),
        (np.ones((4, 2, 1)), "E0804]: `x` has the shape [4, 2, 1], .*hint: without the axis of size 1"),
        ([[1.0], [1.0, 2.0]], "E0804]: the samples of `x` have different shapes"),
        (None, "E0803]: `x` is None"),
        ({1.0, 2.0}, "E0803]: `x` is a set"),
        ([["1", "2"]], "E0803]: `x` consists of texts.*hint: numbers: numpy.asarray(..., float)"),
        (X * 1j, "E0803]: `x` consists of complex numbers"),
        (np.ma.masked_greater(X, 0.5), "E0803]: `x` has masked elements"),
        (np.array([[1.0, None]], object), "E0803]: `x` contains None"),
        (np.array([["2020-01-01"] * 2], "datetime64[D]"), "E0803]: `x` consists of dates"),
    ],
)
def test_an_array_that_does_not_fit_is_refused_at_its_declaration(x: Any, message: str) -> None:
    for call in (program(NUMBERS).predict, program(NUMBERS).step, program(NUMBERS).evaluate, program(FITTED).refit):
        with pytest.raises(ArgumentFault) as refused:
            call({"x": x, "y": Y})
        assert refused.value.diagnostics[0].primary.span.text == "x"
        assert re.search(".*".join(map(re.escape, message.split(".*"))), str(refused.value), re.DOTALL)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (3, "E0804]: `x` is an int"),
        ([], "E0804]: `x` has no samples"),
        ({(1, 2)}, "E0804]: `x` is a set"),
        ([1, 2], "E0804]: sample 0 of `x` is a number, and no sequence"),
        ([[1], []], "E0804]: sample 1 of `x` has no steps"),
        ([[1], None], "E0803]: `x` of sample 1 is None"),
        (["abc"], "E0803]: `x` of sample 0 consists of texts"),
        ([[1, 7]], "E0805]: 7 in `x` is not a class of class(5)"),
        ([[-1]], "E0805]: -1 in `x` is not a class of class(5)"),
        ([[1.5]], "E0805]: 1.5 in `x` is not a class of class(5)"),
        (np.ones((2, 3, 4), int), "E0804]: sample 0 of `x` has the shape [3, 4]"),
    ],
)
def test_a_sequence_that_does_not_fit_is_refused(x: Any, message: str) -> None:
    with pytest.raises(ArgumentFault, match=re.escape(message)):
        program(SEQUENCES).predict({"x": x})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"x": X}, "the field `y` is missing: float for each sample"),
        ({}, "the field `x` is missing: float[2] for each sample"),
        ({"x": X, "y": np.ones(3)}, "the fields hold different numbers of samples"),
        ({"x": X[:0], "y": Y[:0]}, "the fields have no samples"),
    ],
)
def test_samples_that_nothing_can_be_computed_from_are_refused(fields: dict[str, Any], message: str) -> None:
    for call in (program(FITTED).step, program(FITTED).evaluate, program(FITTED).refit):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(fields)


def test_class_weights_need_the_classes() -> None:
    text = SEQUENCES.replace("loss cross_entropy(z, y)", "loss weighted(cross_entropy(z, y), class_weights(y)[y])")
    fit = program(text).fit
    with pytest.raises(ValueError, match="the field `y` is missing"):
        fit({"x": [np.ones(3, np.int32)] * 2})
    with pytest.raises(ArgumentFault, match="E0803"):
        fit({"y": ["first", "second"]})
    fit({"y": [0, 2]})


def test_a_label_that_is_no_class_is_refused() -> None:
    sequences = [[1], [2]]
    for y, title in (([0, 5], "5 in `y`"), ([0, 0.5], "0.5 in `y`"), (np.eye(3)[:2], "argmax")):
        for call in (program(SEQUENCES).step, program(SEQUENCES).gradients):
            with pytest.raises(ArgumentFault, match=re.escape(title)):
                call({"x": sequences, "y": y})


@pytest.mark.parametrize("dtype", [str, object])
def test_labels_that_are_texts_are_refused_with_the_way_to_number_them(dtype: type) -> None:
    for labels, hint in ((["a", "b"], "numpy.unique(..., return_inverse=True)[1]"), (["0", "1"], "numpy.asarray(")):
        with pytest.raises(ArgumentFault, match=rf"(?s)`y` consists of texts.*hint: .*{re.escape(hint)}"):
            program(SEQUENCES).step({"x": [[1], [2]], "y": np.array(labels, dtype)})


MODEL = netc.parse(NUMBERS)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: netc.load(None), TypeError, "netc.load takes the path of a `.net` file, not None"),  # type: ignore[arg-type]
        (lambda: netc.parse(Path("a.net")), TypeError, "netc.parse takes the text of a model, not a PosixPath"),  # type: ignore[arg-type]
        (lambda: netc.parse(NUMBERS, lr=None), TypeError, "`lr` is a number, True, False, a text or a list"),
        (lambda: netc.open(3), TypeError, "netc.open takes the folder of a run, not an int"),  # type: ignore[arg-type]
        (lambda: netc.compile("a.net"), TypeError, "a program is compiled of a model, not a str"),  # type: ignore[arg-type]
        (lambda: netc.compile(MODEL, batch=0), ValueError, "`batch` is a whole number, at least 1, not 0"),
        (lambda: netc.compile(MODEL, batch=2.5), TypeError, "`batch` is a whole number, at least 1, not 2.5"),  # type: ignore[arg-type]
        (lambda: netc.compile(MODEL, seed="a"), TypeError, "`seed` is a whole number, at least 0, not 'a'"),  # type: ignore[arg-type]
        (lambda: netc.compile(MODEL, threads=0), ValueError, "`threads` is a whole number, at least 1, not 0"),
        (lambda: netc.train("a.net"), TypeError, "netc.train takes a model, not a str"),  # type: ignore[arg-type]
        (lambda: netc.train(MODEL, {"x": X, "y": Y}, epochs=1.5), TypeError, "`epochs` is a whole number"),  # type: ignore[arg-type]
        (lambda: netc.train(MODEL, {"x": X, "y": Y}, on_epoch=3), TypeError, "`on_epoch` is a function"),  # type: ignore[arg-type]
        (lambda: netc.train(MODEL, {"x": X, "y": Y}, log=["wandb"]), ValueError, "there is no tracker `wandb`"),
        (lambda: netc.train(MODEL, X), TypeError, 'fields are arrays by name, such as {"x": ...}, not an ndarray'),  # type: ignore[arg-type]
        (lambda: program(NUMBERS).predict(None), TypeError, "fields are arrays by name"),  # type: ignore[arg-type]
        (lambda: program(FITTED).refit(None), TypeError, "fields are arrays by name"),  # type: ignore[arg-type]
        (lambda: program(NUMBERS).predict({}), ValueError, "the field `x` is missing: float[2] for each sample"),
        (lambda: program(NUMBERS).predict({"X": X}), ArgumentFault, "E0201]: the model has no field `X`"),
        (lambda: program(NUMBERS).predict({"X": X}), ArgumentFault, "it has x, y\n  = hint: did you mean `x`?"),
        (lambda: program(NUMBERS).predict({"x": X, "q": 1}), ArgumentFault, "the model has no field `q`"),
        (lambda: program(NUMBERS).step({"x": X, "y": Y, "q": Y}), ArgumentFault, "the model has no field `q`"),
        (lambda: program(NUMBERS).evaluate({"x": X, "y": Y, 3: Y}), TypeError, "by name, and 3 is an int"),  # type: ignore[dict-item]
        (lambda: netc.train(MODEL, {"x": X, "y": Y, "q": Y}), ArgumentFault, "the model has no field `q`"),
        (lambda: netc.train(MODEL, {1: X}), TypeError, "fields are arrays by name, and 1 is an int"),  # type: ignore[dict-item]
        (
            lambda: netc.compile(MODEL, backend=5),
            TypeError,
            '"plan" or a target, not 5',
        ),  # type: ignore[arg-type]
        (lambda: netc.compile(MODEL, machine=5), TypeError, '`machine` is the text of a target, such as "avx2"'),  # type: ignore[arg-type]
        (lambda: netc.parse(NUMBERS, foo=3), netc.Fault, "`netc.parse(..., foo=...)`: the file has no `let foo`"),
        (lambda: netc.parse(NUMBERS, lr="x y"), netc.Fault, "netc.parse(..., lr=...)"),
        (lambda: netc.parse(NUMBERS, name=5), TypeError, "`name` is the name of the text in messages, not an int"),  # type: ignore[arg-type]
        (lambda: program(NUMBERS).predict({"x": X[:0]}), ValueError, "the fields have no samples"),
        (lambda: program(NUMBERS).predict({"x": X}, beam=0), ValueError, "`beam` is a whole number"),
        (lambda: program(NUMBERS).predict({"x": X}, outputs="zz"), ValueError, "no value `zz`"),
        (lambda: program(NUMBERS).predict({"x": X}, outputs=3), TypeError, "`outputs` is a list of names"),  # type: ignore[arg-type]
        (lambda: program(NUMBERS).gradients({"x": X, "y": Y}, wrt=("zz",)), ValueError, "no input `zz`: it has x"),
    ],
)
def test_another_argument_is_refused(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_what_means_the_same_is_taken(tmp_path: Path) -> None:
    right = program(NUMBERS)
    assert np.array_equal(right.predict({"x": X}, outputs="z")["z"], right.predict({"x": X.tolist()})["z"])
    assert np.array_equal(right.predict({"x": X.astype(object)})["z"], right.predict({"x": X > 0})["z"])
    assert netc.parse(NUMBERS, lr=np.float32(0.5)).overrides == {"lr": 0.5}
    assert netc.compile(MODEL, batch=np.int64(3), threads=1).batch == 3
    run = netc.train(MODEL, {"x": X, "y": Y}, out=tmp_path / "run", log="csv", threads=1)
    with pytest.raises(ArgumentFault, match=r"`x` is a float, and a column has a cell for each row"):
        run.predict({"x": 1.0})
    with pytest.raises(ArgumentFault, match=r"(?s)`x` is a set, .*hint: a list, because a set has no order"):
        run.predict({"x": {1.0, 2.0}})


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "None"), (5, "an int"), (X, "an ndarray"), (np.uint8(3), "a uint8"), ("", "a str"), (set(), "a set")],
)
def test_the_kind_of_a_value_has_its_article(value: object, kind: str) -> None:
    assert kind_of(value) == kind


def test_a_gradient_with_respect_to_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no gradient with respect to `x`: it is class\(5\)"):
        program(SEQUENCES).gradients({"x": [[1], [2]], "y": [0, 1]}, wrt="x")


def test_arrays_to_train_on_are_refused_at_their_declarations(tmp_path: Path) -> None:
    for fields, message in (
        ({"x": 1.0, "y": Y}, "`x` has the shape []"),
        ({"x": X, "y": Y[:, None]}, "without the axis of size 1"),
        ({"x": X}, "the arrays do not give the target `y`"),
        ({"x": X[:0], "y": Y[:0]}, "the arrays have no samples"),
        ({"x": X, "y": Y[:2]}, "the arrays differ in length"),
        ({"x": X * np.nan, "y": Y}, "a value is missing"),
    ):
        with pytest.raises(netc.Fault, match=re.escape(message)) as refused:
            netc.train(MODEL, fields, out=tmp_path / "run", threads=1)
        assert "impute" not in str(refused.value)
