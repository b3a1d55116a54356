"""The figures of the chapter on generalisation."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import BLUE, GREY, INK, ORANGE
from .style import figure, picture, trained


@picture
def capacity() -> Figure:
    """Polynomials of three degrees through fifteen noisy points, and both errors for all degrees."""
    canvas, axes = figure(7.4, 2.3, 1, 4)
    rng = np.random.default_rng(3)
    line = np.linspace(-1, 1, 300)
    x = np.linspace(-1, 1, 15)
    y = np.sin(3 * x) + rng.normal(0, 0.2, x.shape)
    fresh = np.sin(3 * line) + rng.normal(0, 0.2, line.shape)
    for panel, degree, name in zip(axes[0], (1, 4, 13), ("underfitted", "about right", "overfitted"), strict=False):
        fitted = np.polynomial.Chebyshev.fit(x, y, degree)
        panel.plot(line, np.sin(3 * line), color=GREY, linewidth=0.8)
        panel.plot(line, fitted(line), color=BLUE)
        panel.plot(x, y, ".", color=INK, markersize=4)
        panel.set(title=f"{name}: degree {degree}", ylim=(-1.8, 1.8), xticks=[-1, 0, 1], yticks=[-1, 0, 1])
        panel.title.set_fontsize(8)
    degrees = range(14)
    fits = [np.polynomial.Chebyshev.fit(x, y, degree) for degree in degrees]
    errors = axes[0][3]
    errors.semilogy(degrees, [np.mean((fit(x) - y) ** 2) for fit in fits], color=BLUE, label="the 15 points")
    errors.semilogy(degrees, [np.mean((fit(line) - fresh) ** 2) for fit in fits], color=ORANGE, label="new points")
    errors.set(title="squared error by degree", ylim=(1e-3, 2))
    errors.title.set_fontsize(8)
    errors.legend(fontsize=6)
    return canvas


@picture
def overfitting() -> Figure:
    """The losses of training and validation, with and without weight decay."""
    canvas, axes = figure(6.4, 2.8, 1, 2)
    for panel, decay in zip(axes[0], (0, 1), strict=True):
        metrics = trained("overfitting", decay=decay).metrics
        for part, colour in (("train", BLUE), ("valid", ORANGE)):
            losses = [row[f"{part}.loss"] for row in metrics]
            panel.plot(range(1, len(losses) + 1), losses, color=colour, label=part)
        panel.set(title=f"decay = {decay}", xlabel="epoch", ylim=(0, 1))
    axes[0][0].set(ylabel="loss")
    axes[0][0].legend()
    return canvas
