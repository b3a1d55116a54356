"""A network with `precision = PRECISION` whose sums are exact in f32, in any order.

Inputs and parameters are multiples of small powers of two, so gradients can be compared to the bit.
"""

from typing import Any

import numpy as np

import netc

TEXT = """model {
  input x: float[8, 8, 1]
  target y: float[3]
  h = x -> conv(2) -> relu -> maxpool(2) -> flatten
  z = h -> dense(8) -> relu -> dense(3)
  loss inner = sum(z * y)
}
train {
  precision = PRECISION
  batch = 8
}
"""


def fields() -> dict[str, Any]:
    """A batch of inputs and targets."""
    rng = np.random.default_rng(3)
    return {"x": np.float32(rng.integers(-1, 2, (8, 8, 8, 1))), "y": np.float32(rng.choice((-1, 1), (8, 3)))}


def set_parameters(*programs: netc.Program) -> None:
    """Gives all programs the same parameters."""
    rng = np.random.default_rng(4)
    for name, array in programs[0].parameters.items():
        numbers = np.float32(rng.integers(-300, 300, array.shape) / 512)
        for program in programs:
            program.parameters[name][...] = numbers
