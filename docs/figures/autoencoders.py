"""The figures of the chapter on autoencoders."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import BLUE, GREY, INK, ORANGE
from .style import figure, picture, trained

SIZES = (1, 2, 4, 8, 16, 32)


def _errors(name: str, size: int) -> tuple[float, float]:
    """Mean squared errors of the training part after training: of a network, and of PCA with as many numbers."""
    run = trained(name, size=size)
    images = np.asarray(run.load_data().parts["train"]["image"]).reshape(-1, 64)
    again = run.predict_prepared({"image": images})["again"]
    centred = images - images.mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:size]
    return float(np.mean((again - images) ** 2)), float(np.mean((centred - centred @ directions.T @ directions) ** 2))


@picture
def linear_code() -> Figure:
    """The error by the size of the code: of PCA, of a linear autoencoder, and of one with hidden layers."""
    linear = np.array([_errors("course/linear_code", size) for size in SIZES])
    deep = np.array([_errors("course/deep_code", size) for size in SIZES])
    canvas, ((panel,),) = figure(5.2, 3)
    panel.loglog(SIZES, linear[:, 1], color=GREY, linewidth=5, label="PCA", solid_capstyle="round")
    panel.loglog(SIZES, linear[:, 0], ".--", color=BLUE, label="linear autoencoder")
    panel.loglog(SIZES, deep[:, 0], ".-", color=ORANGE, label="with hidden layers")
    panel.set_xscale("log", base=2)
    panel.set(xticks=SIZES, xticklabels=SIZES, xlabel="numbers in the code", ylabel="squared error per pixel")
    panel.legend(fontsize=8)
    return canvas


@picture
def reconstructions() -> Figure:
    """Digits of the test part, what is left of them in a code, and digits with and without noise."""
    rows = []
    for name, size in (("linear_code", 2), ("linear_code", 8), ("deep_code", 8)):
        run = trained(f"course/{name}", size=size)
        images = np.asarray(run.load_data().parts["test"]["image"])[:10].reshape(10, 64)
        kind = "linear" if name == "linear_code" else "hidden layers"
        rows.append((f"{kind}, {size}", run.predict_prepared({"image": images})["again"]))
    noisy = (images + 0.4 * np.random.default_rng(0).standard_normal(images.shape)).astype(np.float32)
    clean = trained("course/denoising_digits").program.predict({"shown": noisy})["again"]
    rows = [("test digits", images), *rows, ("with noise", noisy), ("denoised", clean)]
    canvas, axes = figure(6.4, 3.6, len(rows), 10)
    for line, (name, pictures) in zip(axes, rows, strict=True):
        for panel, image in zip(line, pictures, strict=True):
            panel.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(True)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8, color=INK)
    return canvas
