"""The figures of the chapter on vanishing gradients."""

import numpy as np
from matplotlib.figure import Figure

from netc.runtime.insight.diagnose import diagnose

from .scheme import BLUE, ORANGE
from .style import figure, picture, trained


@picture
def vanishing() -> Figure:
    """How much of the gradient reaches each step, in a plain recurrent network and in an LSTM."""
    canvas, ((panel,),) = figure(5.6, 2.8)
    for cell, colour in (("rnn", ORANGE), ("lstm", BLUE)):
        reaches = diagnose(trained("adding", cell=cell)).reaches
        sizes = max((reach.sizes for reach in reaches), key=lambda sizes: sizes[-1])  # the cell of an LSTM
        panel.semilogy(np.where(sizes > 0, sizes, np.nan) / sizes[0], color=colour, label=cell)
    panel.set(xlabel="steps back from the end", ylabel="gradient of the state,\nof that at the end")
    panel.legend()
    return canvas
