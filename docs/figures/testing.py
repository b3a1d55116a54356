"""The figures of the chapter on testing."""

import itertools

import numpy as np
from matplotlib.figure import Figure

from .scheme import BLUE, GREEN, GREY, ORANGE
from .style import Array, figure, picture, trained


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


SEEDS = range(12)


@picture
def luck() -> Figure:
    """The best of more and more models of what cannot be learned, and what visits of one patient in two parts do."""
    canvas, ((best, leak),) = figure(7.2, 3, 1, 2)
    tried = [_accuracies(seed) for seed in SEEDS]
    leaders = [_leaders(valid) for valid, _ in tried]
    trials = range(1, len(leaders[0]) + 1)
    for part, colour, name in ((0, ORANGE, "validation"), (1, GREEN, "test")):
        each = np.array([accuracies[part][leader] for accuracies, leader in zip(tried, leaders, strict=True)])
        best.plot(trials, each.T, color=colour, linewidth=0.4, alpha=0.5)
        best.plot(trials, each.mean(0), color=colour, linewidth=2, label=name)
    best.axhline(0.5, color=GREY, linewidth=0.8)
    best.set(xlabel="models tried", ylabel="accuracy of the best so far", ylim=(0.3, 0.85))
    best.legend(fontsize=8)
    for place, name in enumerate(("visits", "patients")):
        runs = [trained(f"course/{name}", epochs=100, seed=seed, **_wide(name)) for seed in SEEDS]
        accuracies = [run.evaluate("test")["accuracy"] for run in runs]
        leak.plot([place] * len(SEEDS), accuracies, "o", color=GREEN, markersize=4, fillstyle="none")
        leak.plot(place, np.mean(accuracies), "_", color=GREEN, markersize=26)
    leak.axhline(0.5, color=GREY, linewidth=0.8)
    leak.set(xlim=(-0.6, 1.6), xticks=[0, 1], xticklabels=["split by visit", "split by patient"])
    leak.set(ylabel="test accuracy", ylim=(0.3, 0.85))
    return canvas


def _accuracies(seed: int) -> tuple[Array, Array]:
    """The validation and the test accuracies of forty models, in an order that is drawn."""
    settings = [*itertools.product((4, 8, 16, 32), (0.01, 0.03), (1, 2, 3, 5, 8))]
    runs = [
        trained("course/patients", settings[place][2], width=settings[place][0], lr=settings[place][1], seed=seed)
        for place in np.random.default_rng(seed).permutation(len(settings))
    ]
    valid = [run.metrics[-1]["valid.accuracy"] for run in runs]
    return np.array(valid), np.array([run.evaluate("test")["accuracy"] for run in runs])


def _leaders(valid: Array) -> list[int]:
    """After each model, the place of the best one so far."""
    return [int(valid[:count].argmax()) for count in range(1, len(valid) + 1)]


def _wide(name: str) -> dict[str, int]:
    return {"width": 64} if name == "patients" else {}
