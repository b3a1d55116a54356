"""The figures of the chapter on testing."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import BLUE, GREY, ORANGE
from .style import figure, picture, trained


@picture
def testing() -> Figure:
    """The ROC curve and the curve of precision and recall of one model, and two reliability diagrams of another."""
    canvas, ((roc, recall, reliability),) = figure(7.4, 2.6, 1, 3)
    run = trained("course/rare", epochs=100)
    part = run.load_data().parts["test"]
    eight = np.asarray(part["digit"]) == 8
    order = np.argsort(-run.predict_prepared({"image": np.asarray(part["image"])})["p"])
    hits, said = np.cumsum(eight[order]), np.arange(1, len(order) + 1)
    roc.plot((said - hits) / (~eight).sum(), hits / eight.sum(), color=BLUE)
    roc.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    roc.set(title="ROC", xlabel="false alarms", ylabel="recall", xticks=[0, 1], yticks=[0, 1])
    recall.plot(hits / eight.sum(), hits / said, color=BLUE)
    recall.axhline(eight.mean(), color=GREY, linewidth=0.8)
    recall.set(title="precision by recall", xlabel="recall", ylabel="precision", xticks=[0, 1], yticks=[0, 1])
    run = trained("overconfident")
    part = run.load_data().parts["test"]
    outputs = run.predict_prepared({"name": np.asarray(part["name"])})
    gender = np.asarray(part["gender"])
    for name, colour, label in (("sure", ORANGE, "before"), ("probability", BLUE, "calibrated")):
        chance = outputs[name].max(1)
        right = outputs[name].argmax(1) == gender
        places = np.minimum((chance * 10).astype(int), 9)
        bins = [n for n in range(5, 10) if (places == n).any()]
        shares = [right[places == n].mean() for n in bins]
        means = [chance[places == n].mean() for n in bins]
        reliability.plot(means, shares, "o-", color=colour, label=label, markersize=3)
    reliability.plot([0.5, 1], [0.5, 1], color=GREY, linewidth=0.8)
    reliability.set(title="reliability", xlabel="probability it gives", ylabel="share that is right")
    reliability.legend(fontsize=7)
    return canvas
