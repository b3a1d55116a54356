"""The figures of the chapter on depth."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import BLUE, GREEN, GREY, ORANGE
from .style import figure, picture, trained

SIZES = ((1, 159), (2, 20), (3, 14), (6, 9))  # layers and width: 463 to 481 parameters each


def _fold(x: np.ndarray) -> np.ndarray:
    return 2 * np.maximum(x, 0) - 4 * np.maximum(x - 0.5, 0)


@picture
def zigzag_folds() -> Figure:
    """The function that folds a line, applied one to four times; the pieces have alternating colours."""
    canvas, axes = figure(7, 2, 1, 4)
    for times, panel in enumerate(axes[0], 1):
        x = np.linspace(0, 1, 257)
        y = x
        for _ in range(times):
            y = _fold(y)
        pieces = 2**times
        for piece in range(pieces):
            part = slice(256 * piece // pieces, 256 * (piece + 1) // pieces + 1)
            panel.plot(x[part], y[part], color=(BLUE, ORANGE)[piece % 2], linewidth=1.6)
        panel.set(title=f"{2 * times} ReLUs, {pieces} pieces", xticks=[0, 0.5, 1], yticks=[0, 1], xlabel="x")
        panel.title.set_fontsize(8)
    axes[0][0].set(ylabel="folded")
    return canvas


@picture
def depth() -> Figure:
    """A zigzag as a wide and a deep network of one size learn it, and the losses of five starts for four depths."""
    canvas, ((wide, deep, losses),) = figure(7.4, 2.6, 1, 3)
    x = np.linspace(0, 1, 400, dtype=np.float32)
    for panel, (layers, width), name in ((wide, SIZES[0], "one layer"), (deep, SIZES[-1], "six layers")):
        run = trained("course/zigzag", layers=layers, width=width)
        panel.plot(x, _fold(_fold(_fold(x))), color=GREY, linewidth=0.8)
        panel.plot(x, run.predict_prepared({"x": x})["height"], color=BLUE)
        panel.set(title=f"{name} of {width}", xlabel="x", ylim=(-0.1, 1.1), yticks=[0, 1])
    for shift, (zigzag, colour) in enumerate((("folds_4", GREEN), ("folds_3", BLUE), ("folds_2", ORANGE))):
        for place, (layers, width) in enumerate(SIZES):
            for seed in range(5):
                metrics = trained("course/zigzag", layers=layers, width=width, zigzag=zigzag, seed=seed).metrics
                label = f"{2 ** (4 - shift)} pieces" if place == seed == 0 else None
                panel_x = place + 0.2 * (shift - 1)
                losses.semilogy(panel_x, metrics[-1]["valid.loss"], "o", color=colour, markersize=3, label=label)
    losses.set(
        title="validation loss", xlabel="layers", ylim=(1e-11, 0.3), xticks=range(4), xticklabels=[n for n, _ in SIZES]
    )
    losses.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0.2, -0.02))
    return canvas
