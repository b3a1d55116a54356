"""Patterns that tell code from comments and texts in quotes, for whoever searches a text without its grammar."""

import re

TEXT = r'"(?:[^"\\\n]|\\.)*"'  # the terminal STRING of grammar.lark
COMMENT = r"#[^\n]*"
OPEN_TEXT = TEXT + "?"  # a text that may still be open at the end of its line


def blanked(text: str) -> str:
    """The text with spaces instead of comments and of texts in quotes, of which the last may be open."""
    return re.sub(f"{OPEN_TEXT}|{COMMENT}", lambda match: " " * len(match[0]), text)


def is_code_at_end(line: str) -> bool:
    """Whether what follows the line belongs neither to a comment nor to a text in quotes."""
    return not set('"#') & set(re.sub(TEXT, "", line))
