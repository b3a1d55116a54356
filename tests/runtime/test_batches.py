"""Calls that are kept for the next epoch: they give what new calls give, whatever has changed between them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import netc
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.ir.types import Type
from netc.compiler.targets.target import Interface
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.execution.batches import Batches
from netc.runtime.training.pace import Pace

TEXT = """
model {
  input x: float[3]
  target y: float
  z = x -> dense(4) -> tanh -> dropout(0.3) -> dense(1) -> squeeze
  output guess = z
  loss mse(z, y)
  metric mae(z, y)
}
train {
  optimizer = adam(lr = 0.05)
  batch = 8
  schedule = cosine()
}
"""
_DRAW = np.random.default_rng(0)
FIELDS = {"x": _DRAW.random((30, 3), np.float32), "y": _DRAW.random(30, np.float32)}
INTERFACE = Interface({"x": Type("f32", ("batch", 3)), "rate": Type("f64")}, {"z": Type("f32", ("batch",))})


def program() -> netc.Program:
    return netc.compile(elaborate(parse(Source("m.net", TEXT))), threads=1)


def bits(arrays: Any) -> dict[str, bytes]:
    return {name: np.asarray(array).tobytes() for name, array in arrays.items()}


def test_training_goes_on_to_the_bits_of_single_steps() -> None:
    kept, single = program(), program()
    for epoch in range(4):
        order = np.random.default_rng(epoch).permutation(30)
        rates = {"train.rate": np.linspace(0.1, 0.2, 4) * (epoch + 1)}
        losses = kept.steps(FIELDS, order, epoch, rates)
        for i in range(4):
            fields = {name: array.copy() for name, array in FIELDS.items()}
            alone = single.steps(fields, order[8 * i : 8 * i + 8], epoch, {"train.rate": rates["train.rate"][[i]]})
            assert alone.values["loss"][0] == losses.values["loss"][i]
    assert bits(kept.persistent) == bits(single.persistent)


def test_results_stay_as_they_were() -> None:
    trained = program()
    first = trained.predict({"x": FIELDS["x"]})["guess"]
    before = first.copy()
    trained.steps(FIELDS, np.arange(30), 0)
    second = trained.predict({"x": FIELDS["x"]})["guess"]
    assert (first == before).all()
    assert (second != before).any()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_changes_of_a_field_in_place_count(kind: type) -> None:
    x: np.ndarray[Any, Any] = FIELDS["x"].astype(kind)
    used = program()
    used.predict({"x": x})
    x[:] = np.flip(x, 0).copy()
    assert bits(used.predict({"x": x})) == bits(program().predict({"x": x}))
    assert bits(used.predict({"x": x[::2]})) == bits(program().predict({"x": x[::2]}))


def test_threads_do_not_share_calls() -> None:
    used = program()
    fields = [FIELDS, {name: array[:21] for name, array in FIELDS.items()}]
    expected = [program().evaluate(part) for part in fields]
    with ThreadPoolExecutor(4) as pool:
        results = [*pool.map(lambda i: used.evaluate(fields[i % 2]), range(40))]
    assert all(result == expected[i % 2] for i, result in enumerate(results))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_calls_are_taken_for_other_small_arrays(kind: type) -> None:
    """They are copied, so that the calls neither read the arrays of the caller nor keep them from being freed."""
    x, order, one = np.zeros((10, 3), kind), np.arange(10), np.array(1.0)
    batches = Batches(INTERFACE, {"x": x, "rate": one}, order, 4, {})
    assert batches.is_kept
    assert not any(np.may_share_memory(call.inputs["x"], x) for call in batches.calls)
    assert batches.takes({"x": x + 5, "rate": one}, order, 4)
    assert all((call.inputs["x"] == 5).all() for call in batches.calls)
    assert not batches.takes({"x": np.zeros((9, 3), kind), "rate": one}, order, 4)
    assert not batches.takes({"x": np.zeros((10, 1), kind), "rate": one}, order, 4)
    assert all((call.inputs["x"] == 5).all() for call in batches.calls)


def test_calls_are_taken_for_the_same_large_arrays_only() -> None:
    x, order = np.zeros((20_000, 3), np.float32), np.arange(10)
    batches = Batches(INTERFACE, {"x": x, "rate": np.array(1.0)}, order, 4, {})
    assert batches.is_kept
    assert [(call.steps, call.batch) for call in batches.calls] == [(2, 4), (1, 2)]
    assert all(call.inputs["x"] is x for call in batches.calls)
    assert batches.takes({"x": x, "rate": np.array(2.0)}, order[::-1], 4)
    assert [float(call.inputs["rate"]) for call in batches.calls] == [2.0, 2.0]
    assert batches.calls[1].order.tolist() == [1, 0]
    assert not batches.takes({"x": x.copy(), "rate": np.array(2.0)}, order, 4)
    assert not batches.takes({"x": x, "rate": np.array(2.0)}, order[:9], 4)
    assert not batches.takes({"x": x, "rate": np.array(2.0)}, order, 5)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_is_large_is_not_kept(kind: type) -> None:
    large = np.zeros((400_000, 3), kind)
    assert not Batches(INTERFACE, {"x": large, "rate": np.array(1.0)}, np.arange(8), 4, {}).is_kept


def test_predictions_do_not_alias() -> None:
    """Neither with each other, nor with what the program keeps for the next call, nor with the caller's fields."""
    used, x = program(), FIELDS["x"][:1].copy()
    first = used.predict({"x": x})["guess"]
    expected = first.copy()
    second = used.predict({"x": FIELDS["x"][1:2].copy()})["guess"]
    first[:] = second[:] = np.nan
    x[:] = np.nan
    assert bits(used.predict({"x": FIELDS["x"][:1].copy()})) == bits({"guess": expected})


def test_threads_that_predict_other_arrays() -> None:
    used = program()
    expected = [program().predict({"x": FIELDS["x"][i : i + 1]})["guess"] for i in range(30)]
    with ThreadPoolExecutor(4) as pool:
        results = [*pool.map(lambda i: used.predict({"x": FIELDS["x"][i % 30 : i % 30 + 1]})["guess"], range(300))]
    assert all(result.tobytes() == expected[i % 30].tobytes() for i, result in enumerate(results))


LABELS = "model {\n  input x: class(3)\n  param table: float[3, 2] = normal(0.1)\n  output z = table[x]\n}\n"


@pytest.mark.parametrize("kind", ["<i8", ">i8", "<i4", ">i2", "i1", "u1", "<u8", "<f4", ">f8"])
def test_labels_of_any_type_are_checked(kind: str) -> None:
    used = netc.compile(elaborate(parse(Source("m.net", LABELS))), threads=1)
    right = used.predict({"x": np.array([2, 0, 1], kind)})["z"]
    assert bits({"z": right}) == bits({"z": used.parameters["table"][[2, 0, 1]]})
    wrong = [3, 127] if "u" in kind else [3, -1, 127, -128]
    for label in wrong:
        for x in (np.array([0, label, 1], kind), np.array([0, 0, label, 0, 1, 0], kind)[::2]):
            with pytest.raises(netc.Fault, match=f"{label} in `x` is not a class"):
                used.predict({"x": x})


def test_the_pace_follows_the_time_that_steps_take() -> None:
    pace = Pace()
    for steps, seconds, expected in [(1, 1e-5, 4), (4, 4e-5, 16), (16, 16e-5, 64), (45, 45e-5, 180), (45, 1.0, 2)]:
        pace.took(steps, seconds)
        assert pace.steps == expected
