"""The parser that Lark makes of the grammar, kept between processes: to make its tables takes a third of a second, to read them some hundredths.

Kept are plain numbers and texts with their hash, in the user's own folder; what is damaged, or of another grammar, Lark or Python, is made anew.
"""

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lark import Lark
from lark.grammar import Rule
from lark.lexer import TerminalDef

from netc.dsl import eviction, home, temporary


def parser_of(grammar: str, postlex: Any) -> Lark:
    """The LALR parser of a grammar, with positions and placeholders."""
    path = _place(grammar)
    kept = _read(path, postlex)
    if kept is not None:
        return kept
    made = Lark(grammar, parser="lalr", postlex=postlex, propagate_positions=True, maybe_placeholders=True)
    _write(path, made)
    return made


def _place(grammar: str) -> Path | None:
    folder = home.folder()
    told = repr((grammar, version("lark"), sys.version_info[:3]))
    return folder / f"parser-{hashlib.sha256(told.encode()).hexdigest()[:32]}.tables" if folder else None


def _read(path: Path | None, postlex: Any) -> Lark | None:
    try:
        if path is None:
            return None
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return None
        data, memo = _back(json.loads(content[32:]))
        found: Lark = Lark._load_from_dict(data, memo, postlex=postlex)
        eviction.use(path)
        return found
    except (OSError, ValueError, EOFError, TypeError, KeyError, AttributeError):
        return None


def _plain(value: Any) -> Any:
    """Dicts with any keys, tuples and lists as JSON that says which they were."""
    match value:
        case dict():
            return ["d", [[key, _plain(item)] for key, item in value.items()]]
        case tuple() | list():
            return ["t" if isinstance(value, tuple) else "l", [_plain(item) for item in value]]
    return value


def _back(value: Any) -> Any:
    """The inverse of `_plain`."""
    if not isinstance(value, list):
        return value
    kind, items = value
    if kind == "d":
        return {key: _back(item) for key, item in items}
    made = [_back(item) for item in items]
    return tuple(made) if kind == "t" else made


def _write(path: Path | None, made: Lark) -> None:
    """Keep the tables. A folder that cannot be written keeps nothing."""
    if path is None:
        return
    try:
        data, memo = made.memo_serialize([TerminalDef, Rule])
        plain = _plain(({**data, "options": {**data["options"], "postlex": None}}, memo))
        content = json.dumps(plain, separators=(",", ":")).encode()
        temporary.write(path, hashlib.sha256(content).digest() + content)
        eviction.enforce()
    except OSError as error:
        home.warn_cannot_write(error)
    except (ValueError, TypeError, KeyError, AttributeError):
        return
