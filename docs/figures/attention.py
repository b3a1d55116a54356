"""The figures of the chapter on attention."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from .scheme import BLUE, BLUE_FILL, GREEN, GREEN_FILL, GREY, GREY_FILL, INK, ORANGE, ORANGE_FILL
from .style import arrow, figure, picture, trained


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


@picture
def transformer() -> Figure:
    """A small GPT from left to right: letters and positions, a layer with its two residual connections, the output."""
    canvas, ((panel,),) = figure(7.4, 1.7)
    panel.add_patch(
        FancyBboxPatch((1.75, -1.0), 7.4, 2.4, boxstyle="round,pad=0,rounding_size=0.15", facecolor="none",
                       edgecolor=GREY, linestyle="--", linewidth=0.8)
    )  # fmt: skip
    panel.text(5.45, -0.82, "one of two layers, each with weights of its own", ha="center", va="bottom", fontsize=8)
    boxes = (
        (0.7, "letter +\nposition", BLUE, BLUE_FILL),
        (2.9, "layernorm", GREY, GREY_FILL),
        (4.3, "causal\nattention", BLUE, BLUE_FILL),
        (6.5, "layernorm", GREY, GREY_FILL),
        (7.9, "dense, gelu,\ndense", GREY, GREY_FILL),
        (10.2, "layernorm,\ndense", GREY, GREY_FILL),
        (11.9, "next\nletter", ORANGE, ORANGE_FILL),
    )
    for x, text, edge, fill in boxes:
        style = "round,pad=0,rounding_size=0.12"
        panel.add_patch(FancyBboxPatch((x - 0.6, -0.36), 1.2, 0.72, boxstyle=style, facecolor=fill, edgecolor=edge))
        panel.text(x, 0, text, ha="center", va="center", fontsize=7.5)
    for start, end in (
        (1.3, 2.3),
        (3.5, 3.7),
        (4.9, 5.13),
        (5.47, 5.9),
        (7.1, 7.3),
        (8.5, 8.63),
        (8.97, 9.6),
        (10.8, 11.3),
    ):
        arrow(panel, (start, 0), (end, 0), head=7)
    for start, end in ((2.0, 5.3), (5.65, 8.8)):
        panel.plot([start, start, end], [0, 0.9, 0.9], color=GREEN, linewidth=1.8, solid_capstyle="round")
        panel.add_patch(
            FancyArrowPatch((end, 0.9), (end, 0.17), arrowstyle="-|>", mutation_scale=9, color=GREEN, linewidth=1.8,
                            shrinkA=0, shrinkB=0)
        )  # fmt: skip
        panel.add_patch(Circle((end, 0), 0.17, facecolor=GREEN_FILL, edgecolor=GREEN, zorder=3))
        panel.text(end, -0.01, "+", ha="center", va="center", zorder=4)
    panel.text(3.65, 1.0, "the step itself", ha="center", va="bottom", fontsize=8, color=GREEN)
    panel.text(4.3, 0.44, "earlier steps", ha="center", va="bottom", fontsize=8, color=BLUE)
    panel.set(xlim=(0, 12.6), ylim=(-1.1, 1.5))
    panel.set_aspect("equal")
    panel.axis("off")
    return canvas
