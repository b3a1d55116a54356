"""Names in the printed form of programs: bare if they are plain, else quoted, so that every name reads back."""

import ast
import re

NAME = r"(?:[A-Za-z_][\w.]*|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"  # a name as `quoted` writes it


def quoted(name: str) -> str:
    """Returns a name as it stands in a listing."""
    return name if re.fullmatch(r"[A-Za-z_][\w.]*", name) else repr(name)


def unquoted(text: str) -> str:
    """Returns the name that `quoted` wrote."""
    return str(ast.literal_eval(text)) if text[:1] in ("'", '"') else text
