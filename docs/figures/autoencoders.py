"""The figures of the chapter on autoencoders."""

import numpy as np
from matplotlib.figure import Figure

from .style import figure, picture, trained


@picture
def autoencoder() -> Figure:
    """Digits, their reconstructions from 32 numbers, and digits that a variational autoencoder makes from noise."""
    run, free = trained("autoencoder", 8), trained("variational", 6)
    test = run.load_data().parts["test"]
    images = np.asarray(test["image"])[:10].reshape(10, -1)
    back = run.predict_prepared({"image": np.asarray(test["image"])[:10]})["again"]
    drawn = np.random.default_rng(4).standard_normal((10, 20)).astype(np.float32)
    generated = free.program.predict({"code": drawn})["again"]
    canvas, axes = figure(6.4, 2.1, 3, 10)
    for row, pictures in enumerate((images, back, generated)):
        for panel, image in zip(axes[row], pictures, strict=True):
            panel.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            panel.axis("off")
    return canvas
