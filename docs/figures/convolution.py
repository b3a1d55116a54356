"""The figures of the chapter on convolution."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .scheme import BLUE, BLUE_FILL, GREEN, GREY, GREY_FILL, INK, ORANGE, ORANGE_FILL
from .style import figure, framed, picture, trained

SEVEN = np.array([[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0], [0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0],
                  [0, 1, 0, 0, 0, 0]])  # fmt: skip
STROKE = np.array([[-1, -1, -1], [2, 2, 2], [-1, -1, -1]])


@picture
def sliding() -> Figure:
    """A kernel on two places of a picture: each window gives one number of the result."""
    canvas, axes = figure(7, 2.3, 1, 3)
    outputs = np.lib.stride_tricks.sliding_window_view(SEVEN, (3, 3)).reshape(4, 4, 9) @ STROKE.ravel()
    windows = ((0, 1, BLUE, BLUE_FILL), (3, 0, ORANGE, ORANGE_FILL))  # row, column and colours
    panels = zip(axes[0], ("picture", "kernel", "result"), (SEVEN, STROKE, outputs), (3, 0, 1), strict=True)
    for panel, title, numbers, size in panels:
        _table(panel, numbers)
        for row, column, edge, fill in windows if size else ():
            panel.add_patch(Rectangle((column, row), size, size, facecolor=fill, edgecolor="none", zorder=0))
            panel.add_patch(Rectangle((column, row), size, size, facecolor="none", edgecolor=edge, linewidth=2))
        middle = len(numbers) / 2
        panel.set(title=title, xlim=(middle - 3.1, middle + 3.1), ylim=(middle + 3.1, middle - 3.1))
        panel.set_aspect("equal")
        panel.axis("off")
    return canvas


def _table(panel: Axes, numbers: np.ndarray) -> None:
    """Whole numbers in a grid of unit squares that begins at (0, 0)."""
    for (row, column), number in np.ndenumerate(numbers):
        panel.add_patch(Rectangle((column, row), 1, 1, facecolor="none", edgecolor=GREY, linewidth=0.5))
        text = str(number).replace("-", "−")
        panel.text(column + 0.5, row + 0.53, text, ha="center", va="center", weight="bold" if number else "normal")


@picture
def connections() -> Figure:
    """Seven inputs and seven outputs: all connected; neighbours alone; neighbours with three shared weights."""
    canvas, axes = figure(7, 1.7, 1, 3)
    titles = ("dense: 49 weights", "neighbours alone: 19 weights", "shared: 3 weights")
    for kind, (panel, title) in enumerate(zip(axes[0], titles, strict=True)):
        for output in range(7):
            for source in range(7):
                if kind == 0 or abs(source - output) <= 1:
                    colour = (BLUE, GREEN, ORANGE)[source - output + 1] if kind == 2 else GREY
                    panel.plot([source, output], [0, 1], color=colour, linewidth=(0.6, 1, 1.6)[kind], zorder=0)
        panel.scatter(np.tile(np.arange(7), 2), np.repeat([0, 1], 7), s=60, color=GREY_FILL, edgecolors=INK)
        panel.set(title=title, xlim=(-0.5, 6.5), ylim=(-0.25, 1.25), yticks=[0, 1], xticks=[])
        panel.set_yticklabels(["in", "out"] if kind == 0 else ["", ""])
        panel.tick_params(length=0)
        for spine in panel.spines.values():
            spine.set_visible(False)
    return canvas


def _responses(image: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """The sums of products of each kernel with each window of a padded image: [kernel, row, column]."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, 1), kernels.shape[:2])
    return np.einsum("hwij,ijn->nhw", windows, kernels[:, :, 0])


@picture
def convolution() -> Figure:
    """A digit, the eight kernels that were learned, and the output of each for the digit."""
    run = trained("digits_conv")
    kernels = next(array for array in run.program.parameters.values() if array.ndim == 4)
    image = np.asarray(run.load_data().parts["test"]["image"])[3]
    maps = _responses(image[..., 0], kernels)
    canvas, axes = figure(7, 1.9, 2, 9)
    axes[0][0].imshow(image[..., 0], cmap="gray_r")
    axes[0][0].set_title("a digit", fontsize=8)
    axes[1][0].text(0.5, 0.5, "above: kernels\nbelow: their\noutputs", ha="center", va="center", fontsize=7)
    reach = float(np.abs(kernels).max())
    for n in range(8):
        axes[0][n + 1].imshow(kernels[:, :, 0, n], cmap="RdBu", vmin=-reach, vmax=reach)
        axes[1][n + 1].imshow(np.maximum(maps[n], 0), cmap="gray_r")
    for panel in axes.flat:
        framed(panel)
    axes[1][0].axis("off")
    return canvas


@picture
def equivariance() -> Figure:
    """A digit and the digit moved by two pixels, and what a trained kernel makes of both."""
    run = trained("digits_conv")
    kernels = next(array for array in run.program.parameters.values() if array.ndim == 4)
    image = np.pad(np.asarray(run.load_data().parts["test"]["image"])[3][..., 0], 4)
    moved = np.roll(image, (2, 2), (0, 1))
    first, second = _responses(image, kernels), _responses(moved, kernels)
    n = int(first.var((1, 2)).argmax())
    reach = float(np.abs(first[n]).max())
    canvas, axes = figure(7, 2, 1, 5)
    difference = second[n] - np.roll(first[n], (2, 2), (0, 1))
    titles = ("a digit", "moved by (2, 2)", "kernel on digit", "kernel on moved", f"difference: {difference.max():g}")
    pictures = (image, moved, first[n], second[n], difference)
    for place, (panel, title, array) in enumerate(zip(axes[0], titles, pictures, strict=True)):
        if place < 2:
            panel.imshow(array, cmap="gray_r")
        else:
            panel.imshow(array, cmap="RdBu", vmin=-reach, vmax=reach)
        panel.set_title(title, fontsize=8)
        framed(panel)
    return canvas
