"""The figures of the chapter on gradient descent."""

import numpy as np
from matplotlib.figure import Figure

import netc

from .scheme import BLUE, GREEN, GREY, INK, ORANGE
from .style import EXAMPLES, Array, Point, figure, picture, trained


def bowl(example: str, slopes: Point, offsets: Point) -> tuple[Array, Array, tuple[Array, Array, Array]]:
    """Weights and miles of the cars of an example, and the mean squared error of a line through them.

    The error is given on a grid between two slopes and two offsets: slope, offset and error, each [row, column].
    """
    data = trained(example, 1).load_data().parts["train"]
    weight, mpg = np.asarray(data["weight"]), np.asarray(data["mpg"])
    x, y = np.meshgrid(np.linspace(*slopes, 80), np.linspace(*offsets, 80))
    return weight, mpg, (x, y, ((x[..., None] * weight + y[..., None] - mpg) ** 2).mean(-1))


@picture
def line() -> Figure:
    """The bowl of the error, and the paths down it with three learning rates, from points of the same height."""
    weight, mpg, errors = bowl("line", (-2.4, 0.9), (-1.5, 1.5))
    canvas, ((above, curves),) = figure(7, 3.2, 1, 2)
    above.contour(*errors, 16, colors=GREY, linewidths=0.7)
    best = np.polyfit(weight, mpg, 1)
    for step, colour, direction in (
        (0.02, GREEN, (0.5, 0.86)),
        (0.4, BLUE, (0.94, 0.34)),
        (1.05, ORANGE, (0.5, -0.86)),
    ):
        path, point = [], best + np.array(direction)
        for _ in range(60):
            path.append(point.copy())
            miss = point[0] * weight + point[1] - mpg
            point -= step * 2 * np.array([(miss * weight).mean(), miss.mean()])
        losses = [((a * weight + b - mpg) ** 2).mean() for a, b in path]
        shown = np.array(path[:6] if step > 1 else path)
        above.plot(*shown.T, ".-", color=colour, linewidth=1, label=f"step {step}")
        curves.semilogy(losses, color=colour, label=f"step {step}")
    above.plot(*best, "x", color=INK, markersize=7, zorder=3)
    above.set(
        xlabel="slope",
        ylabel="offset",
        title="the bowl, from above",
        xlim=(-2.4, 0.9),
        ylim=(-1.5, 1.5),
        aspect="equal",
    )
    curves.set(xlabel="epoch", ylabel="loss", title="the loss by epoch")
    curves.legend()
    return canvas


@picture
def stochastic() -> Figure:
    """Paths down the same bowl with batches of all cars, of 16, and of a single car, by netc's own steps."""
    weight, mpg, errors = bowl("line", (-1.5, 0.4), (-0.9, 0.9))
    canvas, axes = figure(7.2, 2.6, 1, 3)
    for panel, batch, colour in zip(axes[0], (len(mpg), 16, 1), (BLUE, GREEN, ORANGE), strict=True):
        program = netc.compile(netc.load(EXAMPLES / "line.net", step=0.05), batch=batch)
        order = np.random.default_rng(1)
        path = [(0.0, 0.0)]
        for _ in range(60):
            rows = order.permutation(len(mpg))[:batch]
            program.step({"weight": weight[rows], "mpg": mpg[rows]})
            path.append((float(program.parameters["slope"].item()), float(program.parameters["offset"].item())))
        panel.contour(*errors, 14, colors=GREY, linewidths=0.6)
        panel.plot(*np.array(path).T, ".-", color=colour, linewidth=1, markersize=3)
        title = {1: "one car a step", 16: "16 cars a step"}.get(batch, "all cars in each step")
        panel.set(title=title, xlabel="slope", xlim=(-1.5, 0.4), ylim=(-0.9, 0.9))
    axes[0][0].set(ylabel="offset")
    return canvas


@picture
def saddle() -> Figure:
    """The loss of a network with two weights: a saddle between two valleys, and paths from four starts."""
    canvas, ((panel,),) = figure(4.2, 3.6)
    u, v = np.meshgrid(np.linspace(-1.8, 1.8, 120), np.linspace(-1.8, 1.8, 120))
    panel.contour(u, v, (u * v - 1) ** 2, [0.02, 0.2, 0.5, 1, 2, 4, 8], colors=GREY, linewidths=0.6)
    for start, colour in (((-1.2, 1.26), BLUE), ((-1.2, 1.1), ORANGE), ((0.3, -1.5), ORANGE), ((1.6, -0.2), BLUE)):
        path, point = [], np.array(start)
        for _ in range(200):
            path.append(point.copy())
            point = point - 0.05 * 2 * (point.prod() - 1) * point[::-1]
        panel.plot(*np.array(path).T, ".-", color=colour, linewidth=1, markersize=3)
        panel.plot(*start, "o", color=colour, markersize=5)
    panel.plot(0, 0, "x", color=INK, markersize=8, zorder=3)
    panel.annotate("saddle", (0, 0), (8, -4), textcoords="offset points", color=INK)
    panel.set(xlabel="u", ylabel="v", aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    return canvas
