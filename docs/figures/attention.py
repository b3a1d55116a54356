"""The figures of the chapter on attention."""

import numpy as np
from matplotlib.figure import Figure

from .style import figure, picture, trained


@picture
def attention() -> Figure:
    """The attention weights: the letters that the decoder looks at for each sound of a word."""
    run = trained("cmudict", 3)
    model = run.model
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
    assert model.outputs
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
