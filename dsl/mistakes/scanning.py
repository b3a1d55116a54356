"""Patterns that tell code from comments and texts in quotes, for whoever searches a text without its grammar."""

import re
from collections.abc import Sequence

CONTINUES = (
    *["+", "-", "*", "/", "//", "@", "%", "**", "=", ",", "<", ">", "<=", ">=", "==", "!=", "and", "or", "->", "else"],
)  # a line that ends with one of these goes on in the next
_GOES_ON = re.compile(r"(?:->|\*\*|//|[=!<>]=|[-+*/@%=,<>]|\b(?:and|or|else))$")
_BEGINS = re.compile(r"\w+\s*(?:[:,]|=(?!=)|\s\w)|(?:loss|metric|return|yield)\b")  # a statement, not an operand
TEXT = r'"(?:[^"\\\n]|\\.)*"'  # the terminal STRING of grammar.lark
COMMENT = r"#[^\n]*"
OPEN_TEXT = TEXT + "?"  # a text that may still be open at the end of its line


def blanked(text: str) -> str:
    """The text with spaces instead of comments and of texts in quotes, of which the last may be open."""
    return re.sub(f"{OPEN_TEXT}|{COMMENT}", lambda match: " " * len(match[0]), text)


def is_code_at_end(line: str) -> bool:
    """Whether what follows the line belongs neither to a comment nor to a text in quotes."""
    return not set('"#') & set(re.sub(TEXT, "", line))


def last_line(lines: Sequence[str], number: int) -> int:
    """The number of the last line of a statement that begins in line `number`, counted from 1.

    It goes on before a line that begins with `->`, and behind an operator unless a statement begins behind it.
    """
    while number < len(lines):
        following = lines[number].lstrip()
        is_open = _GOES_ON.search(blanked(lines[number - 1]).rstrip()) and following not in ("", "}")
        if not following.startswith("->") and (not is_open or _BEGINS.match(following)):
            break
        number += 1
    return number
