"""The figures of the chapter on initialisation."""

import numpy as np
from matplotlib.figure import Figure

import netc

from .scheme import BLUE, GREEN, GREY, ORANGE, PURPLE
from .style import EXAMPLES, figure, picture

GAINS = ((0.5, PURPLE, "½"), (1, ORANGE, "1 (Glorot)"), (2**0.5, BLUE, "√2 (He)"), (3, GREEN, "3"))


def _start(gain: float, bend: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Activations of each layer, and derivatives of the loss by each sum z, of the network before its first step."""
    model = netc.load(EXAMPLES / "course" / "deep_start.net", gain=gain, bend=bend)
    program = netc.compile(model)
    weights = [array.astype(np.float64) for name, array in program.parameters.items() if name.endswith(".W")]
    table = np.loadtxt(EXAMPLES / "data" / "digits8x8" / "digits8x8.csv", delimiter=",", skiprows=1)[:512]
    deviation = table[:, :64].std(0)
    image = (table[:, :64] - table[:, :64].mean(0)) / np.where(deviation > 0, deviation, 1)
    activations, slopes = [image], []
    for weight in weights[:-1]:
        z = activations[-1] @ weight
        activations.append(np.maximum(z, 0) if bend == "relu" else np.tanh(z))
        slopes.append(z > 0 if bend == "relu" else 1 - np.tanh(z) ** 2)
    logits = activations[-1] @ weights[-1]
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    delta = exponents / exponents.sum(1, keepdims=True) - np.eye(10)[table[:, 64].astype(int)]
    deltas = []
    for weight, slope in zip(weights[:0:-1], slopes[::-1], strict=True):
        delta = delta @ weight.T * slope
        deltas.append(delta)
    return activations, deltas[::-1]


@picture
def initialisation() -> Figure:
    """Mean squares of activations and of gradients in twenty layers, for four gains, with what theory says."""
    canvas, ((forward, backward),) = figure(7, 3.1, 1, 2)
    for gain, colour, label in GAINS:
        activations, deltas = _start(gain, "relu")
        sizes = [np.mean(h**2) for h in activations]
        slopes = [np.mean(d**2) for d in deltas]
        layers, factor = np.arange(21), gain**2 / 2
        forward.semilogy(layers, sizes, "o", color=colour, markersize=3, label=f"gain {label}")
        forward.semilogy(layers, sizes[0] * factor**layers, color=GREY, linewidth=0.8, zorder=0)
        backward.semilogy(layers[1:], slopes, "o", color=colour, markersize=3)
        backward.semilogy(layers[1:], slopes[-1] * factor ** (20 - layers[1:]), color=GREY, linewidth=0.8, zorder=0)
    forward.set(title="activations: mean of h²", xlabel="layer", xticks=[0, 5, 10, 15, 20])
    backward.set(title="gradients: mean of δ²", xlabel="layer", xticks=[1, 5, 10, 15, 20])
    forward.legend(fontsize=7)
    return canvas


@picture
def saturation() -> Figure:
    """The distribution of the activations of tanh units in the layers 1, 10 and 20, for three gains."""
    canvas, axes = figure(7, 2.5, 1, 3)
    for panel, gain in zip(axes[0], (0.5, 1, 3), strict=True):
        activations, _ = _start(gain, "tanh")
        for layer, colour, dashes in ((1, BLUE, "-"), (10, ORANGE, (0, (5, 2))), (20, GREEN, (0, (1.5, 1.5)))):
            counts, edges = np.histogram(activations[layer], np.linspace(-1, 1, 42))
            panel.plot(
                (edges[1:] + edges[:-1]) / 2,
                counts / counts.sum(),
                color=colour,
                linestyle=dashes,
                label=f"layer {layer}",
            )
        panel.set(title=f"gain {gain:g}", xlabel="tanh(z)", ylim=(0, 0.4), xlim=(-1, 1))
    axes[0][0].set(ylabel="share of the activations")
    axes[0][1].legend(fontsize=7)
    return canvas
