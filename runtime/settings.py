"""The spans of a model's text where the `train` block makes its settings, for messages."""

from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.parser import parse
from netc.dsl.source import Span


def setting_spans(model: Model) -> dict[str, Span]:
    """The span of each setting that is made, by name."""
    return {setting.name.text: setting.span for setting in model.settings}


def setting_span(model: Model, name: str) -> Span:
    """The span of a setting; without it that of the word `train`; without a block the beginning of the text."""
    spans = [setting.span for setting in model.settings if setting.name.text == name]
    blocks = [] if spans else [item for item in parse(model.source).items if isinstance(item, syntax.Train)]
    spans += [Span(model.source, block.span.start, block.span.start + len("train")) for block in blocks]
    return next(iter(spans), Span(model.source, 0, 0))
