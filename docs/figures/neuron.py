"""The figures of the chapter on the neuron."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import INK
from .style import figure, picture, plane, trained


@picture
def neuron() -> Figure:
    """The predicted probability at each point of the plane, for a gate that it can learn and one that it cannot."""
    canvas, axes = figure(6.4, 3, 1, 2)
    x, y, points = plane(-0.4, 1.4, 120)
    for panel, gate in zip(axes[0], ("and", "xor"), strict=True):
        run = trained("neuron", gate=gate)
        chance = run.predict_prepared({"inputs": points})["chance"].reshape(x.shape)
        panel.contourf(x, y, chance, 20, cmap="RdBu", vmin=0, vmax=1, alpha=0.75)
        panel.contour(x, y, chance, [0.5], colors=INK, linewidths=1)
        corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        truths = [a & b if gate == "and" else a ^ b for a, b in corners]
        panel.scatter(*corners.T, c=truths, cmap="RdBu", edgecolors=INK, s=70, zorder=3)
        panel.set(title=f"a {gate} b", xlabel="a", ylabel="b", xticks=[0, 1], yticks=[0, 1])
    return canvas
