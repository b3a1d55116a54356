"""The figures of the chapter on activation functions."""

import numpy as np
from matplotlib.figure import Figure

import netc

from .scheme import BLUE, GREEN, GREY, ORANGE, PURPLE
from .style import EXAMPLES, Array, figure, picture

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
        value, slope = _value_and_slope(name, x)
        slope[1:][np.abs(np.diff(slope)) > 0.5] = np.nan  # a jump is not a line
        panel.axhline(0, color=GREY, linewidth=0.6)
        panel.axvline(0, color=GREY, linewidth=0.6)
        panel.plot(x, value, color=BLUE, label="value")
        panel.plot(x, slope, color=ORANGE, linestyle=(0, (4, 1.5)), label="slope")
        panel.set(title=name, xlim=(-4, 4), ylim=(-1.3, 2.3), xticks=[-4, 0, 4], yticks=[-1, 0, 1, 2])
    axes[0][0].legend(fontsize=8, loc="upper left")
    return canvas


def _value_and_slope(name: str, x: Array) -> tuple[Array, Array]:
    """An activation function and its derivative at each point of a vector, as netc computes them."""
    program = netc.compile(netc.parse(FILE.format(name=name)), backend="reference")
    values = program.predict({"x": x.astype(np.float32)})
    return values["y"].copy(), values["slope"].copy()


@picture
def fading() -> Figure:
    """The spread of the units of each layer over pictures, and of the gradients, before the first step."""
    canvas, ((signals, gradients),) = figure(7.2, 3, 1, 2)
    table = np.loadtxt(EXAMPLES / "data" / "digits8x8" / "digits8x8.csv", delimiter=",", skiprows=1)[:512]
    for name, colour in (("tanh", GREEN), ("relu", BLUE), ("gelu", PURPLE), ("sigmoid", ORANGE)):
        signal, gradient = _through_layers(name, table[:, :64] / 16, table[:, 64].astype(int))
        layers = np.arange(1, len(signal) + 1)
        signals.semilogy(layers, signal, "o-", color=colour, markersize=3, label=name)
        gradients.semilogy(layers, gradient, "o-", color=colour, markersize=3)
    signals.set(title="what tells pictures apart", xlabel="layer", ylabel="spread between pictures")
    gradients.set(title="what comes back", xlabel="layer", ylabel="size of the gradient")
    signals.legend(fontsize=8, loc="lower left")
    return canvas


def _through_layers(name: str, image: Array, digit: Array) -> tuple[list[float], list[float]]:
    """For each hidden layer of `activation.net` the spread of a unit between pictures, and the size of the gradient.

    Both are root mean squares: of a unit's deviation from its mean over the pictures, and of the derivative of a
    picture's loss by a unit's sum.
    """
    model = netc.load(EXAMPLES / "course" / "activation.net", activation=name, depth=8)
    parameters = netc.compile(model, backend="reference").parameters
    weights = [np.asarray(array, np.float64) for key, array in parameters.items() if key.endswith(".W")]
    signals, slopes, h = [], [], image
    for weight in weights[:-1]:
        z = h @ weight
        value, slope = _value_and_slope(name, z.ravel())
        h = value.reshape(z.shape).astype(np.float64)
        slopes.append(slope.reshape(z.shape))
        signals.append(float(np.sqrt(h.var(0).mean())))
    logits = h @ weights[-1]
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    delta = exponents / exponents.sum(1, keepdims=True) - np.eye(10)[digit]
    gradients = []
    for weight, slope in zip(weights[:0:-1], slopes[::-1], strict=True):
        delta = delta @ weight.T * slope
        gradients.append(float(np.sqrt((delta**2).mean())))
    return signals, gradients[::-1]
