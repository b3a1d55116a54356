"""The figures of the chapter on vanishing gradients."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from netc.runtime.insight.diagnose import diagnose

from .scheme import BLUE, GREEN, ORANGE
from .style import figure, picture, trained


def _gradients_by_step(name: str, epochs: int | None = None, **constants: Any) -> np.ndarray:
    """The length of the gradient of the state at each step back from the end, as a share of that at the end."""
    reaches = diagnose(trained(name, epochs, **constants)).reaches
    sizes = max((reach.sizes for reach in reaches), key=lambda sizes: sizes[-1])  # the cell of an LSTM
    return np.where(sizes > 0, sizes, np.nan) / sizes[0]


@picture
def jacobians() -> Figure:
    """The rest of the gradient after a number of steps, for matrices that shrink, keep or stretch every vector."""
    canvas, axes = figure(6.8, 2.8, 1, 2)
    for panel, squash in zip(axes[0], (False, True), strict=True):
        for gain, colour in ((1.05, ORANGE), (1.0, BLUE), (0.9, GREEN)):
            sizes = _gradients_by_step("course/jacobians", gain=gain, squash=squash)
            panel.semilogy(sizes, color=colour, label=f"gain {gain:g}")
        panel.set(title="with tanh" if squash else "without tanh", xlabel="steps back from the end", ylim=(1e-3, 40))
    axes[0][0].set(ylabel="gradient, at the end = 1")
    axes[0][0].legend(loc="lower left")
    return canvas


@picture
def vanishing() -> Figure:
    """The part of the gradient that reaches each step after training, in a plain recurrent network and in an LSTM."""
    canvas, ((panel,),) = figure(5.6, 2.8)
    for cell, colour in (("rnn", ORANGE), ("lstm", BLUE)):
        panel.semilogy(_gradients_by_step("adding", cell=cell), color=colour, label=cell)
    panel.set(xlabel="steps back from the end", ylabel="gradient, at the end = 1")
    panel.legend()
    return canvas
