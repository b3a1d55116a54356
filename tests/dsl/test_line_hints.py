"""Hints for lines without a name, and for lines of other languages: what they propose can be parsed."""

import pytest

import netc
from netc.dsl.diagnostics import Diagnostic
from netc.dsl.parser import parse
from netc.dsl.source import Source

IN_BLOCK = "block f(x) {{\n{}\n}}\n"
IN_TRAIN = "train {{\n{}\n}}\n"


def lines_with_messages(text: str) -> list[int]:
    return [message.primary.span.line for message in messages(text)]


def messages(text: str) -> list[Diagnostic]:
    with pytest.raises(netc.Fault) as caught:
        parse(Source("a.net", text))
    return [*caught.value.diagnostics]


VALUES = {
    "  x * 2": "return x * 2",
    "  x if x > 0 else 0": "return x if x > 0 else 0",
    "  not x": "return not x",
    "  x -> dense(4)\n    -> relu": "return x -> dense(4) ...",
    "  x +\n    1": "return x + ...",
    "  x * 2 +\n  y = 3": "name = ...",
    "  x * 2;": "return ...",
    "  x -> relu ->": "return ...",
    "  x * (1 +": "return ...",
}
SETTINGS = {
    "  epochs: 3": "epochs = 3",
    "  lr: 1e-3,": "lr = 1e-3",
    "  optimizer: adam(lr: 0.01, beta1: 0.9)": "optimizer = adam(lr = 0.01, beta1 = 0.9)",
    "  epochs: 3, batch: 4": "each setting has a line of its own, without a comma",
    "  epochs = 3 batch = 4": "each setting has a line of its own",
    "  epochs: (3": "epochs = ...",
    "  epochs = 3 epochs": "a number has no unit: `epochs = 3`, without `epochs`",
}
STATEMENTS = {
    "  output x * 2": "output name = x * 2",
    "  output x * 2;": "output name = ...",
    "  input z: float(4, 3)": "the dimensions of a type stand in brackets: `float[4, 3]`",
    "  input z: float()": "the dimensions of a type stand in brackets: `float[4]`",
}


@pytest.mark.parametrize(
    ("body", "hint", "text"),
    [
        *((IN_BLOCK, hint, text) for text, hint in VALUES.items()),
        *((IN_TRAIN, hint, text) for text, hint in SETTINGS.items()),
        *((IN_BLOCK, hint, text) for text, hint in STATEMENTS.items()),
    ],
)
def test_a_hint_proposes_what_can_be_parsed(body: str, hint: str, text: str) -> None:
    (message,) = messages(body.format(text))
    assert message.hint == hint
    for edit in message.edits:
        whole = body.format(text)
        parse(Source("a.net", whole[: edit.span.start] + edit.text + whole[edit.span.end :]))


def test_a_line_that_goes_on_has_one_message() -> None:
    """And a statement behind an unfinished line has its own."""
    assert lines_with_messages(IN_BLOCK.format("  x -> dense(4)\n    -> relu")) == [2]
    assert lines_with_messages(IN_BLOCK.format("  x * 2 +\n  z = = 3\n  return z")) == [2, 3]
