"""The figures of the chapter on attention."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .scheme import BLUE, BLUE_FILL, GREY, GREY_FILL, INK, ORANGE
from .style import figure, picture, trained


@picture
def attention() -> Figure:
    """The attention weights: the letters that the decoder looks at for each sound of a word."""
    run = trained("cmudict", 3)
    letters = list(run.states["word"][1]["tokens"])
    sounds = list(run.states["phones"][-1]["tokens"])
    word = "photograph"
    inputs = {"word": [np.array([letters.index(letter) for letter in word], np.int32)]}
    spoken = np.asarray(run.predict_prepared(inputs)["phones_said"][0])
    spoken = spoken[: 1 + [sounds[i] for i in spoken].index("<end>")]
    fields = {**inputs, "phones": [spoken.astype(np.int32)]}
    values = run.program.predict(fields, outputs=["hs", "keys"])
    hs, keys = values["hs"][0], values["keys"][0]
    scores = hs @ keys.T / np.sqrt(keys.shape[1])
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    canvas, ((panel,),) = figure(4.2, 3.4)
    panel.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    panel.set(
        xticks=range(len(word)),
        xticklabels=list(word),
        yticks=range(len(spoken)),
        yticklabels=[sounds[i] for i in spoken],
    )
    panel.set(xlabel="letters", ylabel="sounds")
    return canvas


@picture
def attention_scale() -> Figure:
    """The largest of 16 attention weights by the width of queries, and the steps that causal attention sees."""
    canvas, ((weights, mask),) = figure(6.8, 2.9, 1, 2)
    generator = np.random.default_rng(0)
    widths = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
    for is_scaled, color, label in ((False, ORANGE, "q · k"), (True, BLUE, "q · k / √n")):
        largest = []
        for width in widths:
            queries, keys = generator.standard_normal((300, 1, width)), generator.standard_normal((300, 16, width))
            scores = (queries * keys).sum(-1) / (np.sqrt(width) if is_scaled else 1)
            exponentials = np.exp(scores - scores.max(-1, keepdims=True))
            largest.append((exponentials.max(-1) / exponentials.sum(-1)).mean())
        weights.semilogx(widths, largest, ".-", base=2, color=color, label=label)
    weights.axhline(1 / 16, color=GREY, linewidth=0.8, linestyle="--")
    weights.text(1, 1 / 16 + 0.015, "equal weights", fontsize=8, color=INK)
    weights.set(xlabel="width n", ylabel="largest of 16 weights", ylim=(0, 1))
    weights.legend(fontsize=8)
    letters = "Call me "
    for step in range(len(letters)):
        for seen in range(len(letters)):
            is_seen = seen <= step
            cell = Rectangle((seen, step), 1, 1, facecolor=BLUE_FILL if is_seen else GREY_FILL, edgecolor=GREY)
            mask.add_patch(cell)
            mask.text(seen + 0.5, step + 0.5, "" if is_seen else "−∞", ha="center", va="center", fontsize=8, color=GREY)
    names = [letter.replace(" ", "␣") for letter in letters]
    ticks = np.arange(len(letters)) + 0.5
    mask.set(xticks=ticks, xticklabels=names, yticks=ticks, yticklabels=names, xlim=(0, 8), ylim=(8, 0), aspect="equal")
    mask.set(xlabel="keys and values", ylabel="queries")
    mask.tick_params(length=0)
    return canvas
