"""The figures of the chapter on convolution."""

import numpy as np
from matplotlib.figure import Figure

from .style import figure, picture, trained


@picture
def convolution() -> Figure:
    """A digit, the eight kernels that were learned, and the output of each for the digit."""
    run = trained("digits_conv")
    kernels = next(array for array in run.program.parameters.values() if array.ndim == 4)
    image = np.asarray(run.load_data().parts["test"]["image"])[3]
    padded = np.pad(image[..., 0], 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernels.shape[:2])
    maps = np.einsum("hwij,ijn->nhw", windows, kernels[:, :, 0])
    canvas, axes = figure(7, 1.9, 2, 9)
    axes[0][0].imshow(image[..., 0], cmap="gray_r")
    axes[0][0].set_title("a digit", fontsize=8)
    axes[1][0].text(0.5, 0.5, "above: kernels\nbelow: their\noutputs", ha="center", va="center", fontsize=7)
    reach = float(np.abs(kernels).max())
    for n in range(8):
        axes[0][n + 1].imshow(kernels[:, :, 0, n], cmap="RdBu", vmin=-reach, vmax=reach)
        axes[1][n + 1].imshow(np.maximum(maps[n], 0), cmap="gray_r")
    for panel in axes.flat:
        panel.axis("off")
    return canvas
