"""Finds models that can copy what their loss asks for: a step of the prediction reads the very element of the label.

An autoencoder, whose label is its input, is no such model: its code has no steps, or its numbers pass a narrow layer.
So labels at the same step as the input count only if they are classes, which a model can pass on through any layer.
"""

import re
from collections.abc import Sequence
from functools import partial

from msgspec import Struct

from netc.compiler.analysis.reach import opening, reaches
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.value import Value
from netc.compiler.model import Application, Comparison
from netc.dsl.hints import Change, Hint
from netc.dsl.source import Span


class Copy(Struct, frozen=True):
    """A comparison whose label is the element of the input `source` at a `distance` from each step, and the first
    value that reads it.

    The label is made of a leaf that is `ahead` steps on. The prediction reads steps up to the distance `last`, and
    `later` is the first value that reads the step behind `ahead`; None if none does.
    """

    comparison: Comparison
    source: Value
    distance: int
    reader: Value
    ahead: int
    last: float
    later: Value | None


def copy_of(graph: Graph, comparison: Comparison, source: Value, leaf: Value, ahead: int = 0) -> Copy | None:
    """The way in which a prediction can copy its label; None if it cannot.

    The label is made of `leaf`: of the input `source` itself, or of a target with the same elements, `ahead` steps on.
    """
    of_label = reaches(graph, leaf).get(comparison.label, {})
    if not of_label:
        return None
    along = reaches(graph, source)
    for axis, reach in along.get(comparison.prediction, {}).items():
        step = of_label[axis].distance if axis in of_label else None
        if step is None:
            continue
        distance = step + ahead
        if reach.includes(distance) and (distance or source.type.classes is not None):
            read = partial(opening, along, comparison.prediction)
            later = read(ahead + 1) if reach.includes(ahead + 1) else None
            return Copy(comparison, source, distance, read(distance), ahead, reach.last, later)
    return None


def remedy(copy: Copy, leaf: str, asked: str, applications: Sequence[Application]) -> str | None:
    """The hint with what the model and the loss read instead, after which the model cannot copy; None if a shift of the
    whole series is needed.

    `leaf` is the name of the input or target that the label is made of, and `asked` the label as it is written.
    """
    causal = _without_later(place_in_file(applications, copy.later).text) if copy.later is not None else ""
    if copy.distance < copy.ahead:  # the loss moves the label back
        if copy.last < copy.ahead and asked != leaf:
            return Hint(f"`{leaf}` in place of `{asked}`", Change(leaf))
        moved = "the shift belongs in front of the model, not in the loss: " if "shift" in asked else ""
        loss = copy.comparison.loss
        both = f"{moved}the model reads `shift({copy.source.name})`, and `{loss}` compares with `{leaf}`"
        return f"{both}; and {causal}" if causal else both
    if copy.reader is not copy.source:
        text = place_in_file(applications, copy.reader).text
        return without_later_steps(text) or "layers that read no later step"
    return None


def shifted(copy: Copy, applications: Sequence[Application]) -> str:
    """The hint that moves what the model reads, where each step reads itself."""
    read = f"let the model read `shift({copy.source.name})`"
    return read if copy.later is None else f"{read}, and {_without_later(place_in_file(applications, copy.later).text)}"


def _without_later(text: str) -> str:
    """The part of a hint that replaces a layer that reads later steps."""
    causal = without_later_steps(text)
    return f"`{causal}` in place of `{text}`" if causal is not None else "take layers that read no later step"


def without_later_steps(text: str) -> str | None:
    """A layer of the library that reads later steps, as it is written where it reads none; None for another text."""
    if match := re.fullmatch(r"bidirectional\((.*)\)", text):
        return match[1]
    if match := re.fullmatch(r"self_attention(?:\((.*)\))?", text):
        return f"self_attention({match[1] + ', ' if match[1] else ''}causal = true)"
    return None


def place_in_file(applications: Sequence[Application], value: Value) -> Span:
    """The span of a value in the user's file: that of the innermost application there which added it."""
    if not value.span.source.is_library:
        return value.span
    around = [call for call in applications if call.first <= value.number < call.end]
    in_file = [call for call in around if not call.span.source.is_library]
    return min(in_file, key=lambda call: call.end - call.first).span if in_file else value.span
