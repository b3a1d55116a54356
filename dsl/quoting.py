"""Quotes text of users and of data for each language that netc writes.

These are Python, HTML, SVG, plots, Markdown, `.net`, JSON and the terminal. Every writer passes names, labels,
paths and source lines through these functions, so that no text becomes code: quoted text is one line without control
characters, and cannot end the comment, string or element that it stands in.
"""

import html
import json
import keyword
import math
import re
import unicodedata
from collections.abc import Collection
from typing import Any

# control characters (C0, DEL, C1), line and paragraph separators, characters that change the direction of text, the
# byte order mark, surrogates, what XML forbids
_HIDDEN = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff"
_TO_ESCAPE = re.compile(f"[{_HIDDEN}]")
_TO_ESCAPE_IN_LINES = re.compile(rf"(?![\n\t])[{_HIDDEN}]")
_TO_REFUSE = re.compile(rf"\r(?!\n)|(?![\r\n\t])[{_HIDDEN}]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def escaped(text: str) -> str:
    """The text on one line for comments, messages and the terminal.

    Control characters and line ends become escapes: two lines become `a\\nb`.
    """
    return _TO_ESCAPE.sub(_escape, text)


def escaped_lines(text: str) -> str:
    """A text of several lines. Line feeds and tabs stay; every other control character becomes an escape."""
    return _TO_ESCAPE_IN_LINES.sub(_escape, text)


CELL = 80  # the most characters of a cell that a message or a table on the terminal shows


def cell(value: object) -> str:
    """A cell of data, or a name from the data, for a message or the terminal: on one line, and cut if it is long."""
    try:
        text = str(value)
    except ValueError:  # Python converts no integer of more than some thousand digits
        text = f"a number of {value.bit_length():,} bits" if isinstance(value, int) else type(value).__name__
    return bounded(escaped(text[: CELL + 1]), CELL)


def bounded(text: str, most: int) -> str:
    """The text, cut to `most` characters with dots at its end."""
    return text if len(text) <= most else text[: most - 3] + "..."


def _escape(character: re.Match[str]) -> str:
    code = ord(character[0])
    return _SHORT.get(character[0]) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


# ------------------------------------------------------------------ Python


def python_comment(text: str) -> str:
    """The text of a comment, without `# `.

    It must not be in the first two lines of a file, where a comment can declare the file's encoding.
    """
    return escaped(text)


def python_string(text: str) -> str:
    """A literal whose value is the text."""
    return repr(str(text))


def python_docstring(text: str) -> str:
    """A line within triple double quotes whose value is the text.

    Surrogates become escapes: Python 3.13 compiles no docstring that contains them.
    """
    plain = _SURROGATE.sub(_escape, text)
    return _TO_ESCAPE.sub(_escape, plain.replace("\\", "\\\\").replace('"', '\\"'))


def python_name(text: str, taken: Collection[str]) -> str:
    """An identifier as similar to the text as Python allows, not a keyword and not in `taken`.

    It begins with a letter: names such as `_x` are reserved for the file itself.
    """
    plain = unicodedata.normalize("NFKC", text)  # Python regards names as equal if they are equal after this
    name = "".join(letter if f"x{letter}".isidentifier() else f"u{ord(letter):x}" for letter in plain)
    name = name if name.isidentifier() and not name.startswith("_") else f"x{name}"
    while name in taken or keyword.iskeyword(name):
        name += "_"
    return name


# ------------------------------------------------------------------ HTML, SVG, plots


def html_text(text: str) -> str:
    """Text between tags, on one line."""
    return html.escape(escaped(text))


def html_lines(text: str) -> str:
    """Text of several lines between tags, as in `<pre>`."""
    return html.escape(escaped_lines(text))


def svg_text(text: str) -> str:
    """Text between tags of XML, which forbids most control characters even as `&#27;`."""
    return html.escape(escaped(text))


# ------------------------------------------------------------------ Markdown

_MARKDOWN = re.compile(r"[\\`*_\[\]()<>#!|~&:@$]")


def markdown_text(text: str) -> str:
    """Text within a line: no emphasis, link, code, picture, table or HTML."""
    return _MARKDOWN.sub(r"\\\g<0>", escaped(text))


def markdown_code(text: str) -> str:
    """Code within a line."""
    plain = escaped(text)
    ticks = _fence(plain, 1)
    return f"{ticks} {plain} {ticks}" if plain.startswith("`") or plain.endswith("`") else f"{ticks}{plain}{ticks}"


def markdown_block(text: str, language: str) -> str:
    """Lines of a program between fences that no line closes."""
    plain = escaped_lines(text)
    fence = _fence(plain, 3)
    return f"{fence}{language}\n{plain}\n{fence}"


def _fence(text: str, least: int) -> str:
    """More backticks than occur in a row in the text, but at least `least`."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


# ------------------------------------------------------------------ .net


def refused(text: str) -> list[re.Match[str]]:
    """The characters that a `.net` text must not contain.

    These are control characters, except tabs and line ends, and a carriage return without a line feed.
    """
    return list(_TO_REFUSE.finditer(text))


_NET_ESCAPES = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\t": r"\t"}
# besides what a file must not contain, characters that look like a space or like nothing
_BLANK = (
    r"\xa0\xad\u061c\u1680\u180e\u2000-\u200b\u200e\u200f\u202f\u205f-\u2064\u206a-\u206f\u3000\ufff9-\ufffb"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001-\U000e007f"
)
_TO_ESCAPE_IN_NET = re.compile(rf'["\\{_BLANK}{_HIDDEN}]')


def is_writable(text: str) -> bool:
    """Whether a `.net` file can contain a text: not if it has half of a surrogate pair, as JSON may have it."""
    return _SURROGATE.search(text) is None


def net_string(text: str) -> str:
    """A text in quotes, with escapes for what quotes cannot contain and for what cannot be seen.

    Raises ValueError for half of a surrogate pair, which is not a character.
    """
    if half := _SURROGATE.search(text):
        raise ValueError(f"it contains half of a surrogate pair, `{escaped(half[0])}`")
    return f'"{_TO_ESCAPE_IN_NET.sub(_net_escape, text)}"'


def _net_escape(character: re.Match[str]) -> str:
    return _NET_ESCAPES.get(character[0]) or rf"\u{{{ord(character[0]):x}}}"


def net_comment(text: str) -> str:
    """The text of a comment, without `# `. Words that would silence a warning (`# allow: W0501`) are escaped."""
    return re.sub(r"#(?=\s*allow:)", r"\\x23", escaped(text))


def net_name(text: str, taken: Collection[str], prefix: str) -> str:
    """A name as similar to the text as the language allows, not in `taken`.

    A name that would begin with a digit gets the prefix `c_`. A text without letters or digits becomes `prefix`.
    """
    name = re.sub(r"\W+", "_", text).strip("_") or prefix
    name = name if re.match(r"[^\W\d]", name) and not name[0].isdigit() else f"c_{name}"
    while name in taken:
        name += "_"
    return name


# ------------------------------------------------------------------ JSON


def json_text(value: Any, *, indent: int | None = None, sort_keys: bool = False, is_ascii: bool = True) -> str:
    """The value as JSON. NaN and infinities, which JSON cannot express, become `null`.

    Unless `is_ascii`, letters of other alphabets are not escaped.
    """
    text = json.dumps(_finite(value), indent=indent, sort_keys=sort_keys, ensure_ascii=is_ascii, allow_nan=False)
    return text if is_ascii else _SURROGATE.sub(_escape, text)


def _finite(value: Any) -> Any:
    match value:
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case float() if not math.isfinite(value):
            return None
    return value


def with_nan(value: Any) -> Any:
    """Replaces each `null` by NaN in numbers that `json_text` wrote."""
    match value:
        case dict():
            return {key: with_nan(item) for key, item in value.items()}
        case list():
            return [with_nan(item) for item in value]
        case None:
            return math.nan
    return value


def json_in_html(value: Any) -> str:
    """JSON between `<script>` tags. Nothing in it ends the element."""
    return json_text(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
