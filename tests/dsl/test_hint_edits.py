"""The changes that hints carry as data: what each replaces in a text."""

import pickle

import pytest

from netc.dsl.diagnostics import Diagnostic, Fault, Label, nearest, nearest_or_all
from netc.dsl.hints import At, Change, Hint
from netc.dsl.source import Source, Span

TEXT = 'x = csv("a.csv")  # read\ninput y: class(3)[t]  # a label\n  epochs\nz = nn.relu(x)\n'


def applied(hint: str | None, span: str) -> list[str]:
    """The lines that each change of a hint leaves of TEXT, for a message at the first occurrence of `place`."""
    source = Source("t.net", TEXT)
    start = TEXT.index(span)
    message = Diagnostic("E0201", "wrong", Label(Span(source, start, start + len(span))), hint=hint)
    texts = [TEXT[: edit.span.start] + edit.text + TEXT[edit.span.end :] for edit in message.edits]
    return [next(line for line in text.split("\n") if line not in TEXT.split("\n")) for text in texts]


@pytest.mark.parametrize(
    ("hint", "span", "line"),
    [
        (Hint.code("tsv"), "csv", 'x = tsv("a.csv")  # read'),
        (Hint.code("-> scale(2)", At.BEHIND), 'csv("a.csv")', 'x = csv("a.csv") -> scale(2)  # read'),
        (Hint.options("skip = 1"), 'csv("a.csv")', 'x = csv("a.csv", skip = 1)  # read'),
        (Hint("a line before", Change("train {", At.LINE_BEFORE)), "epochs", "train {"),
        (Hint.code("epochs = 10", At.STATEMENT), "epochs", "  epochs = 10"),
        (Hint.code("input z: float", At.STATEMENT), "y", "input z: float  # a label"),
        (Hint.code("class(4)[t]", At.TYPE), "y", "input y: class(4)[t]  # a label"),
        (nearest("relu", ["selu"]), "nn.relu", "z = nn.selu(x)"),
        (Hint("x", Change("selu", "relu")).in_place(), "nn.relu", "z = selu(x)"),
        (nearest("a.csv", ["b.csv"]), '"a.csv"', 'x = csv("b.csv")  # read'),
    ],
)
def test_a_change_is_made_where_the_message_points(hint: Hint, span: str, line: str) -> None:
    assert applied(hint, span) == [line]


def test_a_list_of_names_offers_each() -> None:
    assert applied(nearest_or_all("relu", ["a", "b"]), "nn.relu") == ["z = nn.a(x)", "z = nn.b(x)"]


@pytest.mark.parametrize(
    ("hint", "span"),
    [
        (nearest("rel", ["relu"]), "nn.relu"),  # no such word there
        (nearest("relu", ["re lu"]), "nn.relu"),  # it would need quotes
        (Hint.options("skip = 1"), "nn.relu"),  # no call
        (Hint.code("float", At.TYPE), "epochs"),  # no type
        ("a sentence", "epochs"),
        (None, "epochs"),
    ],
)
def test_what_is_not_there_is_not_changed(hint: str | None, span: str) -> None:
    assert applied(hint, span) == []


def test_a_fault_in_another_process_keeps_its_changes() -> None:
    span = Span(Source("t.net", TEXT), 0, 1)
    fault = Fault([Diagnostic("E0201", "wrong", Label(span), hint=Hint.code("y"))])
    (message,) = pickle.loads(pickle.dumps(fault)).diagnostics
    assert (message.hint, [edit.text for edit in message.edits]) == ("y", ["y"])
