"""The figures of the chapter on derivatives as values."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import BLUE, GREY, ORANGE
from .style import figure, picture, trained


@picture
def oscillator() -> Figure:
    """The solution that the network found, the exact motion, and their difference."""
    run = trained("oscillator")
    t = np.linspace(0, 6, 400, dtype=np.float32)
    outputs = run.predict_prepared({next(iter(run.model.inputs)): t})
    predicted = outputs[next(iter(run.model.outputs))].ravel()
    rate = np.sqrt(2 - 0.04)
    exact = np.exp(-0.2 * t) * (np.cos(rate * t) + 0.2 / rate * np.sin(rate * t))
    canvas, axes = figure(6.4, 2.6, 1, 2)
    axes[0][0].plot(t, exact, color=GREY, linewidth=4, label="exact")
    axes[0][0].plot(t, predicted, color=BLUE, label="the network")
    axes[0][0].legend()
    axes[0][0].set(xlabel="t", ylabel="u(t)")
    axes[0][1].plot(t, predicted - exact, color=ORANGE)
    axes[0][1].set(xlabel="t", title="the difference")
    return canvas


@picture
def adversarial() -> Figure:
    """A digit, the direction in which its loss grows, and the accuracy by the size of a step in this direction."""
    canvas = figure(6.8, 2.7)[0]
    canvas.clear()
    grid = canvas.add_gridspec(2, 3, width_ratios=[1, 1, 3.2])
    curve = canvas.add_subplot(grid[:, 2])
    steps = np.linspace(0, 0.25, 11)
    for defence, color, name in ((0, ORANGE, "trained as usual"), (1, BLUE, "trained with attacks")):
        run = trained("course/adversarial", defence=defence)
        part = run.load_data().parts["test"]
        images, digits = np.asarray(part["image"]).reshape(-1, 64), np.asarray(part["digit"])
        uphill = run.program.predict({"image": images, "digit": digits}, outputs=["uphill"])["uphill"]
        directions = np.sign(uphill).reshape(-1, 64)
        chance = np.sign(np.random.default_rng(0).standard_normal(images.shape))
        for towards, style in ((directions, "-"), (chance, ":")):
            answers = [run.predict_prepared({"image": (images + step * towards).astype(np.float32)}) for step in steps]
            shares = [np.mean(answer["probability"].argmax(-1) == digits) for answer in answers]
            label = name if towards is directions else None
            curve.plot(steps, shares, style, color=color, label=label)
        if not defence:
            attacked = np.clip(images + 0.15 * directions, 0, 1).astype(np.float32)
            wrong = run.predict_prepared({"image": attacked})["probability"].argmax(-1)
            sample = int(np.flatnonzero(wrong != digits)[0])
            shown = (
                (images[sample], f"a {digits[sample]}", 0, 1),
                (directions[sample], "direction", -1.5, 1.5),
                (attacked[sample], f'"a {wrong[sample]}"', 0, 1),
            )
            for place, (image, title, low, high) in zip((grid[0, 0], grid[0, 1], grid[1, 0]), shown, strict=True):
                panel = canvas.add_subplot(place)
                panel.imshow(image.reshape(8, 8), cmap="gray_r", vmin=low, vmax=high)
                panel.set(xticks=[], yticks=[], title=title)
                panel.spines[:].set_visible(True)
    curve.plot([], [], ":", color=GREY, label="random directions")
    curve.set(xlabel="step of each pixel", ylabel="accuracy on the test part", ylim=(0, 1.02))
    curve.legend(fontsize=8)
    return canvas
