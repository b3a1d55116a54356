"""The figures of the chapter on residual networks."""

from matplotlib.figure import Figure

from .scheme import BLUE, ORANGE
from .style import EXAMPLES, figure, model_picture, picture, trained


@picture
def degradation() -> Figure:
    """The training loss by epoch of twenty layers, and after the last epoch for depths from 2 to 40."""
    canvas, ((curves, depths),) = figure(7, 2.9, 1, 2)
    places = (2, 6, 10, 20, 40)
    for residual, colour in ((False, ORANGE), (True, BLUE)):
        for norm, style in (("none", "-"), ("batch", "--")):
            runs = [
                trained("course/deep_digits", depth=depth, residual=residual, norm=norm).metrics for depth in places
            ]
            label = ("residual" if residual else "plain") + (", batchnorm" if norm == "batch" else "")
            losses = [row["train.loss"] for row in runs[3]]
            curves.plot(range(1, len(losses) + 1), losses, style, color=colour, label=label)
            depths.plot(places, [run[-1]["train.loss"] for run in runs], f"{style}o", color=colour, markersize=3)
    curves.set(title="training loss of 20 layers", xlabel="epoch", ylim=(0, 2.4), xticks=[1, 5, 10, 15, 20])
    depths.set(title="training loss after 20 epochs", xlabel="layers", ylim=(0, 2.4), xticks=places)
    curves.legend(fontsize=7)
    return canvas


@picture
def residual() -> bytes:
    return model_picture(EXAMPLES / "resnet.net")
