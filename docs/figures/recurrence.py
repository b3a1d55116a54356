"""The figures of the chapter on recurrent networks."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import BLUE, GREY
from .style import figure, picture, trained


@picture
def recurrence() -> Figure:
    """The sunspots of each year of the test part, and the network's prediction from the years before."""
    run = trained("sunspots")
    test = run.load_data().parts["test"]
    predicted, true = run.predict_prepared(test)["spots"], run.undone()["following"](np.asarray(test["following"]))
    canvas, ((panel,),) = figure(6.4, 2.6)
    panel.plot(true, color=GREY, label="true", linewidth=2)
    panel.plot(predicted, color=BLUE, label="predicted a year before")
    panel.set(xlabel="year of the test part", ylabel="sunspots")
    panel.legend()
    return canvas
