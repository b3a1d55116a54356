"""The figures of the chapter on regression."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import BLUE, GREEN, GREY, ORANGE, PURPLE
from .style import figure, picture, trained


@picture
def regression() -> Figure:
    """Predicted against true miles per gallon, on the test part."""
    run = trained("cars")
    test = run.load_data().parts["test"]
    name = next(iter(run.model.outputs))
    target = next(iter(run.model.targets))
    predicted, true = run.predict_prepared(test)[name], run.undone()[target](np.asarray(test[target]))
    canvas, ((panel,),) = figure(3.6, 3.4)
    low, high = float(true.min()) - 2, float(true.max()) + 2
    panel.plot([low, high], [low, high], color=GREY, linewidth=1)
    panel.scatter(true, predicted, s=14, color=BLUE, alpha=0.7)
    panel.set(xlabel="true miles per gallon", ylabel="predicted")
    return canvas


@picture
def losses() -> Figure:
    """Four losses by the error, and their mean over all cars for a constant answer."""
    cars = trained("course/constant", 1).load_data().parts["train"]
    mpg = np.asarray(cars["mpg"], np.float64)
    costs = {
        "squared / 20": (lambda e: e**2 / 20, BLUE),
        "absolute": (np.abs, ORANGE),
        "Huber": (lambda e: np.where(np.abs(e) < 1, e**2 / 2, np.abs(e) - 0.5), GREEN),
        "quantile, 0.9": (lambda e: np.maximum(-0.9 * e, 0.1 * e), PURPLE),
    }
    canvas, ((single, mean),) = figure(7, 3, 1, 2)
    errors, constants = np.linspace(-12, 12, 241), np.linspace(12, 42, 601)
    for name, (cost, colour) in costs.items():
        single.plot(errors, cost(errors), color=colour, label=name)
        curve = cost(constants[:, None] - mpg).mean(1)
        mean.plot(constants, curve, color=colour)
        mean.plot(constants[curve.argmin()], curve.min(), "o", color=colour)
    single.set(xlabel="answer - truth", ylabel="cost", ylim=(-0.2, 9), title="one error")
    mean.set(xlabel="the constant, in miles per gallon", ylim=(0, 12), title="the mean over all cars")
    single.legend(fontsize=8, loc="upper center")
    return canvas
