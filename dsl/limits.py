"""Limits of a text: its length, its nesting, and which numbers fit into 64 bits.

A chain such as `a + b + c`, `x -> f -> g` or `a if c else b if d else e` is not nesting. It may have any length, so
code that walks a tree must walk chains in a loop. Braces may be walked recursively; there may be too many levels of
brackets for that.
"""

import math

from lark import Token, Tree

from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.source import Source, Span

MOST_WORDS = 100_000  # words, numbers and symbols in a file
MOST_LEVELS = 200  # nested brackets, signs before an operand, powers of powers
MOST_BODIES = 40  # nested braces
LARGEST_INTEGER = 2**63 - 1

_NESTING = ("group", "tuple", "list", "unary", "scan", "for_")


def too_long(source: Source, at: int) -> Diagnostic:
    """The message for a text with too many words. `at` is the offset of the first word beyond the limit."""
    hint = "write what repeats as a loop or a block, or move parts to another file and `import` it"
    title = f"the file has more than {MOST_WORDS:,} words and symbols"
    return Diagnostic("E0206", title, Label(Span(source, at, at + 1), "the limit is exceeded here"), (), hint)


def is_level(parent: Tree[Token], index: int, child: Tree[Token]) -> bool:
    """Whether a child of a rule is nested one level deeper than the rule."""
    match parent.data:
        case "index":
            return index > 0
        case "call" if index == 1 and child.data == "call":  # the brackets of a call
            return True
        case "binary" if index == 2 and parent.children[1] == "**":
            return True
    return child.data in _NESTING


def nested_too_deeply(span: Span, levels: int, bodies: int) -> Diagnostic | None:
    """The message for a location inside so many levels of brackets and of braces; None within the limits."""
    if levels > MOST_LEVELS:
        title = f"an expression is nested more than {MOST_LEVELS} levels deep"
        hint = "assign a part of it to a name on its own line: h = ..."
    elif bodies > MOST_BODIES:
        title = f"braces are nested more than {MOST_BODIES} levels deep"
        hint = "move the inner braces into a block"
    else:
        return None
    return Diagnostic(
        "E0106", title, Label(Span(span.source, span.start, span.start + 1), "one level too many"), (), hint
    )


def number_too_large(span: Span, text: str) -> Diagnostic | None:
    """The message for a number that does not fit into 64 bits; None if it fits."""
    plain = text.replace("_", "").lstrip("0")
    if plain.isdigit():
        if len(plain) <= 19 and int(plain) <= LARGEST_INTEGER:
            return None
        label, hint = "the largest whole number is 9,223,372,036,854,775,807", None
        if len(plain) <= 308:
            fraction = plain[1:3].rstrip("0")
            size = f"{plain[0]}{'.' if fraction else ''}{fraction}e{len(plain) - 1}"
            hint = f"{size} is a float of about that size"
        return Diagnostic("E0107", "this whole number does not fit into 64 bits", Label(span, label), (), hint)
    if text and math.isinf(float(text.replace("_", ""))):
        return Diagnostic("E0107", "this number does not fit into 64 bits", Label(span, "the largest is about 1.8e308"))
    return None


def fits(number: float) -> bool:
    """Whether a number that was computed or set fits into 64 bits."""
    return -LARGEST_INTEGER <= number <= LARGEST_INTEGER if isinstance(number, int) else math.isfinite(number)
