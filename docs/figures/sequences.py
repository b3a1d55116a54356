"""The figures of the chapter on sequences."""

import gzip
import json

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .scheme import BLUE, BLUE_FILL, FAINT, GREEN, GREEN_FILL, GREY_FILL, ORANGE, ORANGE_FILL
from .style import EXAMPLES, arrow, figure, picture

# title, example, inputs and outputs by the step at which they stand, number of steps
SHAPES = [
    ("one to one", "a flower,\nits species", [0], [0], 1),
    ("many to one", "letters of a name,\nits gender", [0, 1, 2, 3], [3], 4),
    ("one to many", "a number,\nits name", [0], [0, 1, 2, 3], 4),
    ("many to many,\nin step", "letters,\nthe next letters", [0, 1, 2, 3], [0, 1, 2, 3], 4),
    ("many to many,\nof another length", "letters of a word,\nits sounds", [0, 1, 2], [3, 4, 5], 6),
]


@picture
def sequence_shapes() -> Figure:
    """The shapes of tasks with sequences: which steps have an input, and which an output."""
    canvas, axes = figure(7.4, 1.7, 1, len(SHAPES))
    for panel, (title, example, inputs, outputs, steps) in zip(axes[0], SHAPES, strict=True):
        for step in range(steps):
            _box(panel, step, 1, GREEN, GREEN_FILL)
            if step:
                arrow(panel, (step - 0.64, 1), (step - 0.36, 1), head=6)
            if step in inputs:
                _box(panel, step, 0, BLUE, BLUE_FILL)
                arrow(panel, (step, 0.36), (step, 0.64), head=6)
            if step in outputs:
                _box(panel, step, 2, ORANGE, ORANGE_FILL)
                arrow(panel, (step, 1.36), (step, 1.64), head=6)
        middle = (steps - 1) / 2
        panel.text(middle, -0.55, example, ha="center", va="top", fontsize=7.5)
        panel.set_title(title, fontsize=8.5)
        panel.set(xlim=(middle - 3, middle + 3), ylim=(-1.75, 2.4))
        panel.set_aspect("equal")
        panel.axis("off")
    return canvas


def _box(panel, x: float, y: float, edge: str, fill: str) -> None:
    panel.add_patch(Rectangle((x - 0.34, y - 0.34), 0.68, 0.68, facecolor=fill, edgecolor=edge, linewidth=1))


@picture
def packed_rows() -> Figure:
    """A batch of sequences of different lengths, padded to the longest, and packed as rows without gaps."""
    with gzip.open(EXAMPLES / "data" / "japanese_vowels" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        lengths = [len(json.loads(line)["x"]) for line in lines][60:250:9][:20]
    canvas, axes = figure(7, 2.5, 1, 2)
    longest = max(lengths)
    padded, packed = axes[0]
    for row, length in enumerate(lengths):
        colour = (BLUE, GREEN)[row % 2]
        padded.barh(row, length, height=0.8, color=colour)
        padded.barh(row, longest - length, left=length, height=0.8, color=GREY_FILL, edgecolor=FAINT, linewidth=0.5)
    position = 0
    for row, length in enumerate(lengths):
        left = length
        while left:  # the packed rows, written in lines as long as the longest sequence
            line, column = divmod(position, longest)
            shown = min(left, longest - column)
            packed.barh(line, shown, left=column, height=0.8, color=(BLUE, GREEN)[row % 2])
            position, left = position + shown, left - shown
    wasted = 1 - sum(lengths) / (longest * len(lengths))
    padded.set(title=f"padded: {wasted:.0%} of the rows are empty", xlabel="step")
    packed.set(title="packed: no empty rows", xlabel="the same rows, one after the other")
    for panel in axes[0]:
        panel.set(ylim=(len(lengths), -1), yticks=[], xlim=(0, longest))
    padded.set(ylabel="sequence of the batch")
    return canvas
