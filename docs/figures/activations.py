"""The figures of the chapter on activation functions."""

import numpy as np
from matplotlib.figure import Figure

import netc

from .scheme import BLUE, GREY, ORANGE
from .style import figure, picture

NAMES = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "silu", "gelu")
FILE = """
model {{
  input x: float
  output y = {name}(x)
  output slope = grad(y, x)
}}
"""


@picture
def activations() -> Figure:
    """Each activation function with its slope, by netc's own definitions and derivatives, one operation at a time."""
    x = np.linspace(-4, 4, 161, dtype=np.float32)
    canvas, axes = figure(7.2, 4.0, 2, 4)
    for panel, name in zip(axes.flat, NAMES, strict=True):
        program = netc.compile(netc.parse(FILE.format(name=name)), backend="reference")
        values = program.predict({"x": x})
        slope = values["slope"].copy()
        slope[1:][np.abs(np.diff(slope)) > 0.5] = np.nan  # a jump is no line
        panel.axhline(0, color=GREY, linewidth=0.6)
        panel.axvline(0, color=GREY, linewidth=0.6)
        panel.plot(x, values["y"], color=BLUE, label="value")
        panel.plot(x, slope, color=ORANGE, linestyle=(0, (4, 1.5)), label="slope")
        panel.set(title=name, xlim=(-4, 4), ylim=(-1.3, 2.3), xticks=[-4, 0, 4], yticks=[-1, 0, 1, 2])
    axes[0][0].legend(fontsize=8, loc="upper left")
    return canvas
