"""Carries spans of a text over to a later version of it: those in lines that did not change.

An editor asks for annotations at each keystroke, when the text often does not follow the grammar. It is shown those of
the last version that did, at the lines where they are now.
"""

from collections.abc import Callable

from netc.dsl.source import Source, Span


def carried(before: Source, now: Source) -> Callable[[Span], Span | None]:
    """A function from spans of `before` to the same spans of `now`; to None for those that touch a changed line.

    The changed lines are those between the first and the last line that differ.
    """
    if before.text == now.text:
        return lambda span: Span(now, span.start, span.end)
    old, new = before.text.split("\n"), now.text.split("\n")
    shared = min(len(old), len(new))
    above = next((i for i in range(shared) if old[i] != new[i]), shared)
    below = next((i for i in range(shared - above) if old[-1 - i] != new[-1 - i]), shared - above)
    start = sum(len(line) + 1 for line in old[:above])
    end = len(before.text) - sum(len(line) + 1 for line in old[len(old) - below :]) + 1
    shift = len(now.text) - len(before.text)

    def carry(span: Span) -> Span | None:
        if span.end < start:
            return Span(now, span.start, span.end)
        return Span(now, span.start + shift, span.end + shift) if span.start >= end else None

    return carry
