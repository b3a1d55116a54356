"""The figures of the chapter on variational autoencoders."""

import csv

import numpy as np
from matplotlib.figure import Figure

from .scheme import COLOURS
from .style import EXAMPLES, figure, picture, trained


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The pictures of digits8x8, [samples, 64] from 0 to 1, and the digits that they show."""
    with (EXAMPLES / "data" / "digits8x8" / "digits8x8.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    shown = np.array([int(row.pop("digit")) for row in rows])
    return np.array([[float(cell) for cell in row.values()] for row in rows], np.float32) / 16, shown


@picture
def latent_plane() -> Figure:
    """The codes of digits in the plane, and what the decoder makes of each point of the plane."""
    run = trained("course/variational_digits")
    images, shown = digits()
    codes = run.predict_prepared({"image": images})["code"]
    canvas, ((left, right),) = figure(6.8, 3.4, 1, 2)
    for digit in range(10):
        left.scatter(*codes[shown == digit][:60].T, marker=f"${digit}$", s=18, color=COLOURS[digit % 5], linewidths=0)
    left.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", title="codes of digits")
    side = np.linspace(-2.3, 2.3, 12, dtype=np.float32)
    points = np.stack(np.meshgrid(side, side[::-1]), -1).reshape(-1, 2)
    made = run.program.predict({"code": points})["again"].reshape(12, 12, 8, 8)
    right.imshow(made.transpose(0, 2, 1, 3).reshape(96, 96), cmap="gray_r", vmin=0, vmax=1, extent=(-2.51, 2.51) * 2)
    right.spines[:].set_visible(True)
    right.set(title="the decoder's digits", xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    return canvas
