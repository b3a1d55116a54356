"""The cost of a prediction besides its step."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.value import Value

TAGGER = """
model {
  input x: float[time, 4]
  h = x -> bidirectional(gru(3))
  output y = last(h) -> dense(2)
  output tags = h -> dense(2)
}
"""


def refused(*_: object) -> list[Value]:
    raise AssertionError("a later prediction walked the graph")


@pytest.mark.parametrize("inputs", ["float[4]", "float[time, 4]"])
def test_only_the_first_prediction_walks_the_graph(inputs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction of one sample takes less time than to look at each value of a large model."""
    text = f"model {{\n  input x: {inputs}\n  output y = x -> dense(3) -> tanh -> dense(2)\n}}\n"
    program = netc.compile(netc.parse(text))
    fields = {"x": np.ones((1, 4)) if "time" not in inputs else [np.ones((3, 4))]}
    first = program.predict(fields)["y"]
    monkeypatch.setattr(Graph, "values", refused)
    np.testing.assert_array_equal(program.predict(fields)["y"], first)


def test_only_the_first_prediction_of_a_run_walks_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = Path(__file__).parents[2] / "examples"
    run = netc.train(netc.load(examples / "iris.net"), out=tmp_path / "run", epochs=1)
    flower = {"sepal_length_cm": 5.1, "sepal_width_cm": 3.5, "petal_length_cm": 1.4, "petal_width_cm": 0.2}
    first = run.predict([flower])
    monkeypatch.setattr(Graph, "values", refused)
    again = run.predict([flower])
    assert again["species"] == first["species"]
    np.testing.assert_array_equal(again["probability"], first["probability"])
    assert again.columns().keys() == first.columns().keys()


def test_a_sequence_has_the_same_prediction_after_any_other() -> None:
    """Single samples of one length share the rows and the tables of their steps."""
    draw = np.random.default_rng(0)
    sequences = [draw.random((steps, 4), np.float32) for steps in (3, 1, 5, 3, 2, 5, 7, 1)]
    used = netc.compile(netc.parse(TAGGER), threads=1)
    expected = [netc.compile(netc.parse(TAGGER), threads=1).predict({"x": [sequence]}) for sequence in sequences]
    together = used.predict({"x": sequences})

    def same(number: int) -> bool:
        alone = used.predict({"x": [sequences[number % 8]]})
        right = expected[number % 8]
        is_same = (
            alone["y"].tobytes() == right["y"].tobytes() and alone["tags"][0].tobytes() == right["tags"][0].tobytes()
        )
        alone["y"][:] = alone["tags"][0][:] = np.nan  # which nobody else may see
        return is_same

    assert all(same(number) for number in (*range(8), *reversed(range(8))))
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(same, range(64)))
    np.testing.assert_array_equal(together["y"], np.concatenate([right["y"] for right in expected]))
