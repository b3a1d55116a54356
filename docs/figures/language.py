"""The figures of the chapter on language models."""

import numpy as np
from matplotlib.figure import Figure

from .scheme import BLUE, GREY
from .style import figure, picture, trained


@picture
def language() -> Figure:
    """The probability of each next letter of a sentence, after two epochs over the novel."""
    run = trained("moby_dick", 2)
    letters = list(run.states["letter"][1]["tokens"])
    sentence = "the white whale swam before him as the incarnation of all those"
    codes = np.array([letters.index(letter) for letter in sentence], np.int32)
    likely = run.predict_prepared({"letter": [codes]})["likely"][0]
    chances = [0.0, *(likely[i, codes[i + 1]] for i in range(len(codes) - 1))]
    canvas, ((panel,),) = figure(7, 2)
    panel.bar(range(len(sentence)), chances, color=[GREY if letter == " " else BLUE for letter in sentence])
    panel.set(
        xticks=range(len(sentence)), xticklabels=list(sentence.replace(" ", "_")), ylim=(0, 1), ylabel="probability"
    )
    return canvas
