"""What a prediction costs besides its step."""

import numpy as np
import pytest

import netc
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.value import Value


@pytest.mark.parametrize("inputs", ["float[4]", "float[time, 4]"])
def test_only_the_first_prediction_walks_the_graph(inputs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction of one sample takes less time than to look at each value of a large model."""
    text = f"model {{\n  input x: {inputs}\n  output y = x -> dense(3) -> tanh -> dense(2)\n}}\n"
    program = netc.compile(netc.parse(text))
    fields = {"x": np.ones((1, 4)) if "time" not in inputs else [np.ones((3, 4))]}
    first = program.predict(fields)["y"]

    def refused(*_: object) -> list[Value]:
        raise AssertionError("a later prediction walked the graph")

    monkeypatch.setattr(Graph, "values", refused)
    np.testing.assert_array_equal(program.predict(fields)["y"], first)
