"""The figures of the chapter on pooling."""

import gzip

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .scheme import BLUE, GREEN, GREY, ORANGE, RED
from .style import EXAMPLES, figure, framed, picture


def _digit() -> np.ndarray:
    """A digit of MNIST's test part, 28 by 28."""
    with gzip.open(EXAMPLES / "data" / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read(16 + 28 * 28)[16:], np.uint8).reshape(28, 28)


@picture
def pools() -> Figure:
    """The same four by four numbers under a pool of the largest and under one of the mean."""
    canvas, axes = figure(6.4, 2.2, 1, 3)
    numbers = np.array([[1, 3, 0, 0], [2, 8, 1, 0], [0, 1, 5, 5], [0, 0, 5, 9]])
    blocks = numbers.reshape(2, 2, 2, 2)
    tables = (numbers, blocks.max((1, 3)), blocks.mean((1, 3)))
    colours = (BLUE, ORANGE, GREEN, RED)
    for panel, table, title in zip(axes[0], tables, ("input", "maxpool(2)", "avgpool(2)"), strict=True):
        size = len(table)
        for row in range(size):
            for column in range(size):
                colour = colours[2 * (row * 2 // size) + column * 2 // size]
                corner = (column, size - 1 - row)
                panel.add_patch(Rectangle(corner, 1, 1, facecolor=colour, alpha=0.25, edgecolor=GREY, linewidth=0.8))
                panel.text(corner[0] + 0.5, corner[1] + 0.5, f"{table[row, column]:g}", ha="center", va="center")
        panel.set(title=title, xlim=(0, size), ylim=(0, size), aspect="equal")
        panel.axis("off")
    return canvas


@picture
def receptive() -> Figure:
    """A digit with the receptive fields of one value after each layer of lenet.net."""
    canvas, axes = figure(7, 2.1, 1, 4)
    image = _digit()
    layers = (("conv 5 × 5", 5, 1, -2), ("maxpool 2", 6, 2, -2), ("conv 3 × 3", 10, 2, -4), ("maxpool 2", 12, 4, -4))
    for panel, (name, size, apart, first) in zip(axes[0], layers, strict=True):
        panel.imshow(image, cmap="gray_r")
        place = 12 // apart
        for step, colour in ((0, ORANGE), (1, BLUE)):
            corner = first + (place + step) * apart - 0.5
            panel.add_patch(Rectangle((corner, corner), size, size, fill=False, edgecolor=colour, linewidth=1.8))
        panel.set_title(f"{name}: sees {size} × {size}", fontsize=8)
        framed(panel)
    return canvas
