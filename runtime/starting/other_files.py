"""Writes first `.net` files for data that is not a table: pictures, a text."""

from pathlib import Path

from netc.dsl.diagnostics import fault
from netc.dsl.plural import counted
from netc.dsl.quoting import cell, net_string
from netc.dsl.source import Span
from netc.runtime.data.pictures.decoder import SUFFIXES
from netc.runtime.starting.picture_columns import maps_of, shape_of


def images_file(data: Path, path: str, span: Span) -> tuple[list[str], str]:
    """The lines for a folder with a folder of pictures for each class, and a note on what they were made from.

    Raises E0801 if there are no pictures, E0803 if there is only one class.
    """
    files = sorted(file for file in data.glob("*/*") if file.suffix.lower() in SUFFIXES and file.name[0] != ".")
    if not files:
        hint = "put the pictures of each class into a folder of their own"
        fault("E0801", f"`{data}` has no folders with pictures", span, hint=hint)
    classes = sorted({file.parent.name for file in files})
    if len(classes) < 2:
        fault("E0803", f"all pictures of `{data}` are of one class", span, f"`{cell(classes[0])}`")
    (height, width, channels), options = shape_of(files)
    size = f", size = ({height}, {width})" if "size" in options else ""
    lines = [
        "data {",
        f"  source = images({net_string(path)}{size}, channels = {channels})",
        '  image = field("image") -> scale(1 / 255)',
        '  label = column("label") -> classes',
        "  split = (train = 0.7, valid = 0.1, test = 0.2)",
        "}\n",
        "model {",
        f"  input image: float[{height}, {width}, {channels}]",
        f"  target label: class({len(classes)})\n",
        f"  maps = image -> {maps_of((height, width, channels))}",
        "  hidden = maps -> global_avgpool -> dropout(0.2)",
        "  logits = hidden -> dense(size(label))\n",
        "  output probability = softmax(logits)",
        "  loss cross_entropy(logits, label)",
        "  metric accuracy(logits, label)",
        "}\n",
        *train_lines(batch=16, epochs=20),
    ]
    return lines, f"from {counted(len(files), 'picture')} of {len(classes)} classes"


def prose_file(data: Path, path: str, span: Span) -> tuple[list[str], str]:
    """The lines for a text whose next character is predicted, and a note."""
    steps = "characters -> vocabulary"
    lines = [
        "data {",
        f"  source = text({net_string(path)})",
        f'  letter = field("text") -> {steps} -> window(60, 30)',
        f'  following = field("text") -> {steps} -> next(1) -> window(60, 30)',
        "  split = (train = 0.8, valid = 0.1, test = 0.1)",
        "}\n",
        "model {",
        "  input letter: class(auto)[time]",
        "  target following: class(auto)[time]\n",
        "  hidden = letter -> embed(32) -> gru(128) -> dropout(0.2)",
        "  logits = hidden -> dense(size(following))\n",
        "  output probability = softmax(logits)",
        "  loss cross_entropy(logits, following)",
        "  metric accuracy(logits, following)",
        "}\n",
        *train_lines(batch=32, epochs=20, extra="  clip_norm = 1"),
    ]
    return lines, "which character comes next in a text"


def train_lines(batch: int, epochs: int, extra: str = "") -> list[str]:
    """The lines of the train block. `extra` is one more of its lines."""
    lines = ["train {", "  optimizer = adamw(lr = 0.003, decay = 0.05)", f"  batch = {batch}", f"  epochs = {epochs}"]
    return [*lines, "  schedule = cosine()", *([extra] if extra else []), "  keep = best(valid.loss)", "}"]
