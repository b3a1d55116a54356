"""The figures of the chapter on regression."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import BLUE, GREY
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
