"""Where the `train` block of a model's text sets what: the places of messages about a setting."""

from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.parser import parse
from netc.dsl.source import Span


def places_of_settings(model: Model) -> dict[str, Span]:
    """Each setting that the text makes, by name."""
    items = parse(model.source).items
    return {one.name.text: one.span for item in items if isinstance(item, syntax.Train) for one in item.settings}


def place_of_setting(model: Model, name: str) -> Span:
    """A setting; where it is not made, the `train` block; where there is none, the beginning of the text."""
    blocks = [item for item in parse(model.source).items if isinstance(item, syntax.Train)]
    word = [Span(model.source, block.span.start, block.span.start + len("train")) for block in blocks]
    return next(
        iter([*(one.span for block in blocks for one in block.settings if one.name.text == name), *word]),
        Span(model.source, 0, 0),
    )
