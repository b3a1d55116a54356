"""A Pygments lexer that colours `.net` text in the docs, a terminal or a notebook. Its entry point is called `net`.

The words are those of the grammar; the text is not checked.
"""

from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text, Whitespace

from netc.dsl.keywords import KEYWORDS, SECTIONS, STATEMENTS

_TYPES = ("float", "bool", "class", "int")
_DECLARATION = bygroups(Whitespace, Keyword.Declaration)  # type: ignore[no-untyped-call]


class NetLexer(RegexLexer):
    """Colours `.net` text. A word such as `input` is a keyword at the start of a statement and a name elsewhere."""

    name = "netc"
    url = "https://pypi.org/project/netc"
    aliases: ClassVar[list[str]] = ["net", "netc"]
    filenames: ClassVar[list[str]] = ["*.net"]
    tokens: ClassVar = {
        "root": [
            (r"#.*", Comment.Single),
            (r"\n", Whitespace),
            (r'"(?=(?:\\.|[^"\\\n])*")', String.Double, "text"),
            (rf"^([ \t]*)({'|'.join(STATEMENTS)})(?=[ \t]+[^\W\d])", _DECLARATION),
            (r"[ \t\r]+", Whitespace),
            (rf"\b({'|'.join(SECTIONS)})(?=[ \t]*\{{)", Keyword.Namespace),
            (rf"({'|'.join(_TYPES)})(?=[ \t]*[\[(])", Keyword.Type),
            (words(KEYWORDS, prefix=r"\b", suffix=r"\b"), Keyword),
            (words(_TYPES, prefix=r"(?<=: )", suffix=r"\b"), Keyword.Type),
            (words(("true", "false", "yes", "no", "training"), prefix=r"\b", suffix=r"\b"), Keyword.Constant),
            (r"\d+(?=\.\.)", Number.Integer),
            (r"\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+", Number.Float),
            (r"\d[\d_]*", Number.Integer),
            (r"->|\.\.\.|\.\.|\*\*|//|==|!=|<=|>=|[-+*/%@<>=]", Operator),
            (r"([^\W\d]\w*)(?=[ \t]*\()", Name.Function),
            (r"[^\W\d]\w*", Name),
            (r"[()\[\]{},:.]", Punctuation),
            (r".", Text),
        ],
        "text": [
            (r'"', String.Double, "#pop"),
            (r'\\(?:["\\nt]|u\{[0-9a-fA-F]+\})', String.Escape),
            (r"\\.", String.Double),
            (r'[^"\\]+', String.Double),
        ],
    }
