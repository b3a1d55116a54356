"""The figure of the page on several machines."""

from itertools import repeat

from matplotlib.figure import Figure

import netc
from netc.runtime.distributed.network import Network
from netc.runtime.distributed.prediction import predictions

from .scheme import BLUE, GREEN, GREY, ORANGE, PURPLE
from .style import EXAMPLES, figure, picture

COUNTS = [2**power for power in range(9)]
NETWORK = Network.of(latency=3e-6, bandwidth=12e9)
MODELS = {
    "resnet": (PURPLE, "residual network, batch 64"),
    "lenet": (BLUE, "LeNet, batch 64"),
    "mnist": (ORANGE, "MLP of MNIST, batch 64"),
    "japanese_vowels": (GREEN, "LSTM, batch 27"),
}
ROUNDS = 2  # measurements, of which the fastest counts


@picture
def speed_ups() -> Figure:
    """The predicted speed-up of a step on up to 256 ranks."""
    canvas, ((panel,),) = figure(6, 3.6)
    panel.loglog(COUNTS, COUNTS, color=GREY, linewidth=0.8, linestyle="--", base=2)
    for name, (colour, label) in MODELS.items():
        model = netc.load(EXAMPLES / f"{name}.net")
        measured = [predictions(model, NETWORK, COUNTS) for _ in repeat(None, ROUNDS)]
        seconds = [min(step.seconds for step in steps) for steps in zip(*measured, strict=True)]
        panel.plot(COUNTS, [seconds[0] / each for each in seconds], "o-", color=colour, markersize=3, label=label)
        print(name, *(f"{count}: {seconds[0] / each:.2f}" for count, each in zip(COUNTS, seconds, strict=True)))
    panel.set(xlabel="ranks", ylabel="times as fast as one", xticks=COUNTS, xticklabels=COUNTS, ylim=(0.1, 90))
    panel.set(yticks=[0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64], yticklabels=["⅛", "¼", "½", 1, 2, 4, 8, 16, 32, 64])
    panel.legend(loc="upper left")
    return canvas
