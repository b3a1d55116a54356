"""The figures of the chapter on optimizers."""

import numpy as np
from matplotlib.figure import Figure

import netc

from .descent import bowl
from .scheme import BLUE, GREEN, GREY, ORANGE, PURPLE
from .style import EXAMPLES, figure, picture

OPTIMIZERS = (
    ("plain, 0.09", "sgd(0.09)", GREY),
    ("momentum 0.9, 0.05", "sgd(0.05, momentum = 0.9)", BLUE),
    ("RMSProp, 0.1", "rmsprop(0.1)", GREEN),
    ("Adam, 0.2", "adam(0.2)", ORANGE),
)


@picture
def optimizers() -> Figure:
    """Sixty steps of four of netc's optimizers down the narrow valley of `valley.net`, and the loss by step."""
    weight, mpg, errors = bowl("course/valley", (-1.6, 0.9), (-0.6, 3.6))
    canvas, ((valley, curves),) = figure(7.2, 3.3, 1, 2)
    valley.contour(*errors, [0.35, 0.5, 0.8, 1.5, 3, 6, 12], colors=GREY, linewidths=0.6)
    text = (EXAMPLES / "course" / "valley.net").read_text(encoding="utf-8")
    for name, optimizer, colour in OPTIMIZERS:
        model = netc.parse(text.replace("sgd(lr = 0.09)", optimizer))
        program = netc.compile(model, batch=len(mpg))
        path, losses = [(0.0, 0.0)], []
        for _ in range(60):
            losses.append(program.step({"weight": weight, "mpg": mpg})["loss"])
            path.append((float(program.parameters["slope"].item()), float(program.parameters["offset"].item())))
        valley.plot(*np.array(path).T, ".-", color=colour, linewidth=1, markersize=3)
        curves.semilogy(losses, color=colour, label=name)
    best = np.polyfit(weight, mpg, 1)
    valley.plot(*best, "x", color=PURPLE, markersize=8)
    valley.set(xlabel="slope", ylabel="offset", xlim=(-1.6, 0.9), ylim=(-0.6, 3.6))
    curves.set(xlabel="step", ylabel="loss")
    curves.legend(fontsize=8)
    return canvas
