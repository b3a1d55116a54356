"""The figures of the chapter on classification."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import BLUE, ORANGE
from .style import figure, framed, picture, trained


@picture
def classification() -> Figure:
    """Four digits of the test part, and the predicted probability of each class."""
    run = trained("digits8x8", 20)
    test = run.load_data().parts["test"]
    images, labels = np.asarray(test["image"]), np.asarray(test["digit"])
    chances = run.predict_prepared(test)["probability"]
    order = np.argsort(chances.max(1))
    chosen = [*order[-2:], *order[:2]]  # two that it is sure of, two that it is not
    canvas, axes = figure(6.4, 2.8, 2, 4)
    for column, i in enumerate(chosen):
        axes[0][column].imshow(images[i].reshape(8, 8), cmap="gray_r")
        axes[0][column].set(title=f"a {labels[i]}")
        framed(axes[0][column])
        axes[1][column].bar(range(10), chances[i], color=BLUE)
        axes[1][column].set(ylim=(0, 1), xticks=range(10), yticks=[0, 1] if column == 0 else [])
    return canvas


@picture
def two_losses() -> Figure:
    """Cross-entropy and squared error for two classes, by the score of the true class, and their slopes."""
    z = np.linspace(-6, 6, 200)
    p = 1 / (1 + np.exp(-z))
    curves = (
        ("cross-entropy", -np.log(p), p - 1, BLUE),
        ("squared error", (1 - p) ** 2, -2 * (1 - p) ** 2 * p, ORANGE),
    )
    canvas, ((losses, slopes),) = figure(6.6, 2.7, 1, 2)
    for name, loss, slope, colour in curves:
        losses.plot(z, loss, color=colour, label=name)
        slopes.plot(z, slope, color=colour)
    losses.set(title="loss", xlabel="score of the true class", ylim=(0, 6.2))
    slopes.set(title="slope", xlabel="score of the true class", ylim=(-1.1, 0.1))
    losses.legend()
    return canvas
