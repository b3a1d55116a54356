"""The figures of the chapter on layers."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from netc import Run

from .scheme import BLUE, BLUE_FILL, GREY, INK, ORANGE, ORANGE_FILL
from .style import chances, figure, picture, plane, trained


@picture
def rings() -> Figure:
    """The predicted ring of each point, with a non-linearity between the layers and without."""
    canvas, axes = figure(6.4, 3.2, 1, 2)
    x, y, grid = plane(-3, 3, 80)
    for panel, bent in zip(axes[0], (True, False), strict=True):
        run = trained("rings", bent=bent)
        inner = run.predict_prepared({"point": grid})["probability"][:, 0].reshape(x.shape)
        test = run.load_data().parts["test"]
        points, labels = np.asarray(test["point"]), np.asarray(test["ring"])
        chances(panel, x, y, inner)
        for label, colour in ((0, BLUE), (1, ORANGE)):
            panel.plot(*points[labels == label].T, ".", color=colour, markeredgecolor=INK, markeredgewidth=0.4)
        reach = 1.15 * float(np.abs(points).max())
        panel.set(
            title="with tanh" if bent else "without", xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[]
        )
    return canvas


@picture
def folding() -> Figure:
    """The plane of the inputs of xor, and where two hidden neurons put each of its points: there, a line suffices."""
    run = trained("course/xor_layer")
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    w, b = (np.asarray(run.program.parameters[f"z.dense.{name}"]) for name in ("W", "b"))
    canvas, ((before, after),) = figure(6.8, 3.3, 1, 2)
    lines = np.linspace(0, 1, 11, dtype=np.float32)
    fine = np.linspace(0, 1, 60, dtype=np.float32)
    for level in lines:
        for path in (np.stack([fine, 0 * fine + level], -1), np.stack([0 * fine + level, fine], -1)):
            before.plot(*path.T, color=GREY, linewidth=0.5, alpha=0.7)
            after.plot(*hidden_of(run, path).T, color=GREY, linewidth=0.5, alpha=0.7)
    x, y, grid = plane(-0.15, 1.15, 120)
    side = x[0]
    z = run.predict_prepared({"inputs": grid})["chance"].reshape(x.shape)
    before.contour(x, y, z, [0.5], colors=INK, linewidths=1.4)
    after.plot(side, (-b[0] - w[0, 0] * side) / w[1, 0], color=INK, linewidth=1.4)
    for panel, places in ((before, corners), (after, hidden_of(run, corners))):
        for (a, c), place in zip(corners, places, strict=True):
            colour = BLUE if a != c else ORANGE
            panel.plot(*place, "o", color=colour, markersize=9, zorder=3, clip_on=False)
            away = (10 if place[0] < 0.5 else -10, 9 if place[1] < 0.5 else -25 if panel is after and a == c else -15)
            both = panel is after and a == c  # in one place
            text = ("0, 0 and\n1, 1" if a else "") if both else f"{a:.0f}, {c:.0f}"
            panel.annotate(text, place, away, textcoords="offset points",
                           ha="left" if place[0] < 0.5 else "right")  # fmt: skip
        panel.set(xlim=(-0.08, 1.08), ylim=(-0.08, 1.08), xticks=[0, 1], yticks=[0, 1], aspect="equal")
    before.set(title="the inputs", xlabel="a", ylabel="b")
    after.set(title="the outputs of the hidden layer", xlabel="first neuron", ylabel="second neuron")
    return canvas


def hidden_of(run: Run, points: Any) -> Any:
    """The outputs of the hidden layer for points of the plane: [n, 2]."""
    return run.program.predict({"inputs": points}, outputs=["hidden"])["hidden"]


@picture
def ring_widths() -> Figure:
    """The region that one hidden layer of 1, 2, 3 and 8 neurons finds for the inner ring."""
    canvas, axes = figure(7.2, 2.2, 1, 4)
    x, y, grid = plane(-3.2, 3.2, 90)
    for panel, width in zip(axes[0], (1, 2, 3, 8), strict=True):
        run = trained("course/ring_layer", width=width)
        inner = run.predict_prepared({"point": grid})["probability"][:, 0].reshape(x.shape)
        panel.contourf(x, y, inner, [0, 0.5, 1], colors=[ORANGE_FILL, BLUE_FILL])
        test = run.load_data().parts["test"]
        places, labels = np.asarray(test["point"]), np.asarray(test["ring"])
        for label, colour in ((0, BLUE), (1, ORANGE)):
            panel.plot(*places[labels == label].T, ".", color=colour, markersize=4)
        panel.set(title=f"{width} neuron{'s' if width > 1 else ''}", xticks=[], yticks=[], aspect="equal")
    return canvas
