"""The places in a model's text where the `train` block makes its settings, for messages."""

from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.parser import parse
from netc.dsl.source import Span


def places_of_settings(model: Model) -> dict[str, Span]:
    """The place of each setting that the text makes, by name."""
    items = parse(model.source).items
    return {
        setting.name.text: setting.span for item in items if isinstance(item, syntax.Train) for setting in item.settings
    }


def place_of_setting(model: Model, name: str) -> Span:
    """The place of a setting; without it that of the word `train`; without a block the beginning of the text."""
    blocks = [item for item in parse(model.source).items if isinstance(item, syntax.Train)]
    places = [setting.span for block in blocks for setting in block.settings if setting.name.text == name]
    places += [Span(model.source, block.span.start, block.span.start + len("train")) for block in blocks]
    return next(iter(places), Span(model.source, 0, 0))
