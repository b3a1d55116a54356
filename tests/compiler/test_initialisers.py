"""Initial values of parameters and states that are single numbers, on all backends."""

import numpy as np
import pytest
from support import run

TEXT = """
let k = 3
model {
  input x: float[2]
  target y: float
  param a: float = VALUE
  state s: float = VALUE
  update s = 0.5 * s
  z = sum(x) + a
  output p = z
  loss mse(z, y)
}
train {
  precision = f64
  optimizer = sgd(lr = 0.25)
}
"""


@pytest.mark.parametrize(
    ("value", "number"),
    [("constant(0.5)", 0.5), ("constant(1)", 1.0), ("constant(-k)", -3.0), ("zeros", 0.0), ("ones", 1.0)],
)
def test_a_number_starts_from_its_constant_and_is_trained(value: str, number: float) -> None:
    """The gradient of (x + a - y) ** 2 by a is 2 (x + a - y): here half of it is subtracted."""
    for backend in ("reference", "plan", "cpu"):
        program = run(TEXT.replace("VALUE", value), backend)
        assert program.persistent["a"] == number
        assert program.predict({"x": np.array([[1.0, 2.0]])})["p"] == [3.0 + number]
        program.step({"x": np.array([[1.0, 2.0]]), "y": np.array([7.0])})
        assert program.persistent["a"] == number - 0.5 * (3.0 + number - 7.0)
        assert program.persistent["s"] == 0.5 * number
