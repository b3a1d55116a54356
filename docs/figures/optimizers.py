"""The figures of the chapter on optimizers."""

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

import netc
from netc.compiler.ir.supplied import SuppliedKind
from netc.runtime.training.schedule import scheduled

from .descent import bowl
from .scheme import BLUE, GREEN, GREY, INK, ORANGE
from .style import EXAMPLES, figure, picture, trained

OPTIMIZERS = (
    ("plain, 0.09", "sgd(0.09)", INK),
    ("momentum 0.9, 0.05", "sgd(0.05, momentum = 0.9)", BLUE),
    ("RMSProp, 0.1", "rmsprop(0.1)", GREEN),
    ("Adam, 0.2", "adam(0.2)", ORANGE),
)


@picture
def optimizers() -> Figure:
    """Sixty steps of four of netc's optimizers down the narrow valley of `valley.net`, and the loss by step."""
    weight, mpg, errors = bowl("course/valley", (-1.6, 0.9), (-0.6, 3.6))
    canvas = Figure(figsize=(8, 3.6), layout="constrained")
    FigureCanvasSVG(canvas)
    panels = canvas.subplot_mosaic([[0, 1, "loss"], [2, 3, "loss"]], width_ratios=[1, 1, 1.3])
    curves = panels["loss"]
    text = (EXAMPLES / "course" / "valley.net").read_text(encoding="utf-8")
    for place, (name, optimizer, colour) in enumerate(OPTIMIZERS):
        model = netc.parse(text.replace("sgd(lr = 0.09)", optimizer))
        program = netc.compile(model, batch=len(mpg))
        path, losses = [(0.0, 0.0)], []
        for _ in range(60):
            losses.append(program.step({"weight": weight, "mpg": mpg})["loss"])
            path.append((float(program.parameters["slope"].item()), float(program.parameters["offset"].item())))
        valley = panels[place]
        valley.contour(*errors, [0.35, 0.5, 0.8, 1.5, 3, 6, 12], colors=GREY, linewidths=0.5)
        valley.plot(*np.array(path).T, ".-", color=colour, linewidth=1, markersize=3)
        valley.plot(*np.polyfit(weight, mpg, 1), "x", color=INK, markersize=7, zorder=3)
        valley.set(title=name, xlim=(-1.5, 0.6), ylim=(-0.6, 3.6), xticks=[-1, 0], yticks=[0, 1, 2, 3])
        valley.tick_params(labelbottom=place >= 2, labelleft=place % 2 == 0)
        curves.semilogy(losses, color=colour, label=name)
    for place in (0, 2):
        panels[place].set(ylabel="offset")
    for place in (2, 3):
        panels[place].set(xlabel="slope")
    curves.set(xlabel="step", title="the loss")
    curves.legend(fontsize=8)
    return canvas


RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1)
FAMILIES = (
    ("plain", "sgd(lr = 1)", INK),
    ("momentum 0.9", "sgd(lr = 1, momentum = 0.9)", BLUE),
    ("RMSProp", "rmsprop(lr = 1)", GREEN),
    ("Adam", "adam(lr = 1)", ORANGE),
)
SCHEDULES = (
    ("constant", "1", INK),
    ("halved every 5 epochs", "step_decay(every = 5, factor = 0.5)", GREEN),
    ("cosine, warm-up of 3", "cosine(warmup = 3)", ORANGE),
)


@picture
def rates() -> Figure:
    """The loss of a network for digits by the rate of four optimizers, and by epoch under three schedules."""
    canvas, ((loss, rate, course),) = figure(8.4, 2.8, 1, 3)
    for name, optimizer, colour in FAMILIES:
        runs = [trained("course/optimizers", optimizer=optimizer, lr=size) for size in RATES]
        loss.loglog(
            RATES, [run.metrics[-1]["train.loss"] for run in runs], "o-", color=colour, label=name, markersize=3
        )
    loss.set(title="after 10 epochs", xlabel="rate", ylabel="training loss", ylim=(0.01, 100))
    loss.legend(fontsize=7, loc="upper left")
    for name, schedule, colour in SCHEDULES:
        run = trained("course/optimizers", epochs=20, optimizer="adam(lr = 0.03)", schedule=schedule)
        steps = np.arange(40 * 20)
        rate.plot(steps / 40, scheduled(run.model.train, steps, 40)[str(SuppliedKind.RATE.named())], color=colour)
        losses = [row["train.loss"] for row in run.metrics]
        course.semilogy(range(1, 21), losses, color=colour, label=name)
    rate.set(title="three schedules", xlabel="epoch", ylabel="rate", ylim=(0, None))
    course.set(title="and their losses", xlabel="epoch")
    course.legend(fontsize=7)
    return canvas
