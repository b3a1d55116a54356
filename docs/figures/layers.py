"""The figures of the chapter on layers."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import INK
from .style import figure, picture, trained


@picture
def rings() -> Figure:
    """The predicted ring of each point, with a non-linearity between the layers and without."""
    canvas, axes = figure(6.4, 3.2, 1, 2)
    side = np.linspace(-3, 3, 160, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    for panel, bent in zip(axes[0], (True, False), strict=True):
        run = trained("rings", bent=bent)
        likely = run.predict_prepared({"point": np.stack([x, y], -1).reshape(-1, 2)})["probability"][:, 1].reshape(
            x.shape
        )
        test = run.load_data().parts["test"]
        points, labels = np.asarray(test["point"]), np.asarray(test["ring"])
        panel.contourf(x, y, likely, 20, cmap="RdBu", vmin=0, vmax=1, alpha=0.75)
        panel.scatter(*points.T, c=labels, cmap="RdBu", edgecolors=INK, linewidths=0.4, s=14)
        reach = 1.15 * float(np.abs(points).max())
        panel.set(
            title="with tanh" if bent else "without", xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[]
        )
    return canvas
