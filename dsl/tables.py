"""Caches the tables of the parser that Lark generates from the grammar.

Generating them takes a third of a second, reading them a few hundredths. The file in the cache folder is JSON with its
hash: Lark's own cache is a pickle, which can execute code. Tables that are damaged, or that belong to another grammar,
Lark or Python, are generated again.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from lark import Lark, __version__
from lark.grammar import Rule
from lark.lexer import TerminalDef

from netc.dsl.storage import eviction, home, temporary

_FORM = 2  # counts changes of how the tables are written


def parser_of(grammar: str, postlex: Any) -> Lark:
    """Returns the LALR parser of a grammar, with positions and placeholders, from the cache if it is there."""
    path = _path_of(grammar)
    cached = _read(path, postlex)
    if cached is not None:
        return cached
    parser = Lark(grammar, parser="lalr", postlex=postlex, propagate_positions=True, maybe_placeholders=True)
    _write(path, parser)
    return parser


def _path_of(grammar: str) -> Path | None:
    folder = home.folder()
    key = repr((_FORM, grammar, __version__, sys.version_info[:3]))
    return folder / f"parser-{hashlib.sha256(key.encode()).hexdigest()[:32]}.tables" if folder else None


def _read(path: Path | None, postlex: Any) -> Lark | None:
    try:
        if path is None:
            return None
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return None
        data, memo = json.loads(content[32:], object_pairs_hook=_with_numbers)
        data["options"]["postlex"] = postlex
        # load also takes the dict that it would otherwise unpickle from a file
        parser: Lark = Lark.load({"data": data, "memo": memo})
        eviction.use(path)
        return parser
    except (OSError, ValueError, EOFError, TypeError, KeyError, AttributeError):
        return None


def _plain(value: Any) -> Any:
    """Writes numbers that are keys as texts, because keys of JSON are texts."""
    match value:
        case dict():
            assert not any(isinstance(key, str) and key.isdigit() for key in value), "a text that reads as a number"
            return {str(key): _plain(item) for key, item in value.items()}
        case tuple() | list():
            return [_plain(item) for item in value]
    return value


def _with_numbers(pairs: list[tuple[str, Any]]) -> dict[Any, Any]:
    """A dict whose keys are numbers again where `_plain` has written them as texts."""
    if pairs and pairs[0][0].isdigit():
        return {int(key): item for key, item in pairs}
    return dict(pairs)


def _write(path: Path | None, parser: Lark) -> None:
    """Writes the tables to the cache. If that fails, nothing is cached."""
    if path is None:
        return
    try:
        data, memo = parser.memo_serialize([TerminalDef, Rule])
        plain = _plain(({**data, "options": {**data["options"], "postlex": None}}, memo))
        content = json.dumps(plain, separators=(",", ":")).encode()
        temporary.write(path, hashlib.sha256(content).digest() + content)
        eviction.enforce()
    except OSError as error:
        home.warn_cannot_write(error)
    except (ValueError, TypeError, KeyError, AttributeError):
        return
