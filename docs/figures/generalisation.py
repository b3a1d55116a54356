"""The figures of the chapter on generalisation."""

from matplotlib.figure import Figure

from .scheme import BLUE, ORANGE
from .style import figure, picture, trained


@picture
def overfitting() -> Figure:
    """The losses of training and validation, with and without weight decay."""
    canvas, axes = figure(6.4, 2.8, 1, 2)
    for panel, decay in zip(axes[0], (0, 1), strict=True):
        metrics = trained("overfitting", decay=decay).metrics
        for part, colour in (("train", BLUE), ("valid", ORANGE)):
            panel.plot([row[f"{part}.loss"] for row in metrics], color=colour, label=part)
        panel.set(title=f"decay = {decay}", xlabel="epoch", ylim=(0, 1))
    axes[0][0].set(ylabel="loss")
    axes[0][0].legend()
    return canvas
