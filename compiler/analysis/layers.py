"""The layers of a model as a table: a row for each input, layer and result, with its parameters and its FLOPs.

A layer is one of the outermost boxes of the outline. `netc check` and notebooks print these rows.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile

from msgspec import Struct

from netc.compiler.analysis.outline import RESULTS, Box, Outline, outline_of
from netc.compiler.model import Model

_UNNAMED = ("input", "target", *RESULTS)  # boxes whose title is a name of the file's


class Layer(Struct, frozen=True):
    """A row of the table.

    `name` is where the layer's parameters are, or what the file names its value, with the kind of layer in brackets
    where that differs: "logits.dense", "features (flatten)", "relu". `role` is "input", "target", "output", "loss",
    "metric", "watch", or empty. `type` is the type of a sample, as the language writes it. `parameters` counts those
    that a row above has not, `is_shared` says that a row above has counted some. `flops` is the work of one sample in
    the forward pass, None if that depends on the sample's length, which was not given.
    """

    line: int
    role: str
    name: str
    type: str
    parameters: int
    is_shared: bool
    flops: int | None

    @property
    def title(self) -> str:
        """The role and the name."""
        return f"{self.role} {self.name}".strip()


def layers_of(model: Model, steps: Mapping[str, int] | None = None) -> list[Layer]:
    """The rows of a model, in the order of its text. `steps` is the length of a sample by varying dimension."""
    outline = outline_of(model, steps)
    results = _results_of_boxes(outline)
    labels = {result.key for result in results.values()}
    rows, counted = list[Layer](), set[str]()
    for box in outline.boxes:
        if box.key in labels:
            continue
        result = results.get(box.key)
        role = result.kind if result is not None else box.kind if box.kind in _UNNAMED else ""
        name = box.title if box.kind in _UNNAMED else _name(box)
        if result is not None:
            inner = box.title if box.name == result.title else name.partition(" (")[0]
            name = result.title if inner in (result.title, "") else f"{result.title} ({inner})"
        parameters = [read for read in box.reads if read in model.parameters]
        new = [read for read in parameters if read not in counted]
        counted.update(new)
        count = sum(model.parameters[read].size(1) for read in new)
        rows.append(Layer(box.span.line, role, name, box.type, count, len(new) < len(parameters), box.flops))
    return rows


def _results_of_boxes(outline: Outline) -> dict[int, Box]:
    """The result that is the value of an outermost box, by the box's key. A second result of a box is not among them,
    and has a row of its own."""
    outermost = {inner.key: box for box in outline.boxes for inner in box.all()}
    first = {end: begin for begin, end in reversed(outline.edges)}
    results: dict[int, Box] = {}
    for result in outline.boxes:
        if result.kind in RESULTS and result.key in first:
            box = outermost[first[result.key]]
            if box.kind not in _UNNAMED and box.type == result.type:
                results.setdefault(box.key, result)
    return results


def _name(box: Box) -> str:
    """The path of the parameters of a box, or its name, followed by its title if that differs."""
    paths = [read.split(".")[:-1] for read in box.reads]
    shared = _common(paths) if paths else []
    if shared and shared[-1].rstrip("0123456789").rstrip("_") == box.title:
        return ".".join(shared)
    name = ".".join(shared) or box.name
    return f"{name} ({box.title})" if name and name != box.title else box.title


def _common(paths: Sequence[Sequence[str]]) -> list[str]:
    """The words that all paths begin with."""
    return [words[0] for words in takewhile(lambda words: len({*words}) == 1, zip(*paths, strict=False))]
