"""The figures of the chapter on derivatives as values."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import BLUE, GREY, ORANGE
from .style import figure, picture, trained


@picture
def oscillator() -> Figure:
    """The solution that the network found, the exact motion, and their difference."""
    run = trained("oscillator")
    t = np.linspace(0, 6, 400, dtype=np.float32)
    outputs = run.predict_prepared({next(iter(run.model.inputs)): t})
    predicted = outputs[next(iter(run.model.outputs))].ravel()
    rate = np.sqrt(2 - 0.04)
    exact = np.exp(-0.2 * t) * (np.cos(rate * t) + 0.2 / rate * np.sin(rate * t))
    canvas, axes = figure(6.4, 2.6, 1, 2)
    axes[0][0].plot(t, exact, color=GREY, linewidth=4, label="exact")
    axes[0][0].plot(t, predicted, color=BLUE, label="the network")
    axes[0][0].legend()
    axes[0][0].set(xlabel="t", ylabel="u(t)")
    axes[0][1].plot(t, predicted - exact, color=ORANGE)
    axes[0][1].set(xlabel="t", title="the difference")
    return canvas
