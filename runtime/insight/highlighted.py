"""The lines of a `.net` text in pieces with classes for a style sheet, by the lexer that also colours the docs."""

from collections.abc import Iterator

from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType

from netc.dsl.lexer import NetLexer

Piece = tuple[str, str]  # a class, empty for plain text, and the text
_CLASSES = ((Comment, "c"), (Keyword, "k"), (Name.Function, "f"), (String, "t"), (Number, "n"), (Operator, "o"))


def highlighted(text: str, is_difference: bool = False) -> list[list[Piece]]:
    """The pieces of each line. Together they are the text without its line ends.

    The first character of each line of a difference is a piece of its own.
    """
    if is_difference:
        lines = [(line[:1], line[1:]) for line in text.split("\n")]
        coloured = highlighted("\n".join(line for _, line in lines))
        return [[("", sign), *pieces] for (sign, _), pieces in zip(lines, coloured, strict=True)]
    result = list[list[Piece]]([[]])
    for token, piece in _tokens(text):
        kind = next((name for group, name in _CLASSES if token[: len(group)] == group), "")
        first, *others = piece.split("\n")
        result[-1].append((kind, first))
        result += [[(kind, other)] for other in others]
    return [[piece for piece in line if piece[1]] for line in result]


def _tokens(text: str) -> Iterator[tuple[_TokenType, str]]:
    for _, token, piece in NetLexer().get_tokens_unprocessed(text):
        yield token, piece
