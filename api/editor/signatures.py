"""Signature help: the calls that can be meant by the bracket around an offset, and the argument that is written there.

The text need not be correct.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct

from netc.dsl import syntax
from netc.dsl.mistakes.scanning import blanked
from netc.editor.analysis import Analysis
from netc.editor.completion import open_brackets
from netc.editor.meaning import KINDS_IN, entry_text, reference


class Signature(Struct, frozen=True):
    """A signature, where its arguments stand in it, and the number of the one that is being written, if it has one."""

    label: str
    doc: str
    arguments: tuple[tuple[int, int], ...]
    active: int | None


def signatures(text: str, offset: int, analysis: Analysis) -> list[Signature]:
    """The signatures at an offset; the names of blocks are those of `analysis`, which may be of an earlier text."""
    plain = blanked(text[:offset])
    opened = open_brackets(plain)
    if not opened or opened[-1][0] != "(" or not opened[-1][1]:
        return []
    section = next((word for kind, word in opened if kind == "{" and word in ("data", "train", "study")), "")
    start = _innermost(plain)
    skipped = 0 if section else _skipped(plain, start)
    return [
        Signature(label, doc, arguments, _active(label, arguments, plain[start + 1 :], skipped))
        for label, doc in _labels(opened[-1][1], section, analysis)
        if (arguments := _arguments(label, opened[-1][1]))
    ]


def _labels(name: str, section: str, analysis: Analysis) -> Iterator[tuple[str, str]]:
    """The signatures that a name has, with their documentation: those of the text before those of netc."""
    operations = [
        symbol.node
        for symbol in analysis.names.symbols
        if symbol.name == name and isinstance(symbol.node, syntax.Block | syntax.Op)
    ]
    for node in operations:
        head = node.span.text.partition("{" if isinstance(node, syntax.Block) else "=")[0]
        yield " ".join(head.split()).partition(" ")[2], node.span.comment_before
    if not operations:
        for entry in reference().get(name, ()):
            if entry.kind in KINDS_IN[section]:
                yield entry.signature, entry_text(entry).partition("\n\n")[2]


def _innermost(plain: str) -> int:
    """The offset of the last bracket that is open at the end of a text."""
    depth = 0
    for i in range(len(plain) - 1, -1, -1):
        depth += (plain[i] in ")]}") - (plain[i] in "([{")
        if depth < 0:
            return i
    return 0


def _skipped(plain: str, start: int) -> int:
    """The number of arguments that come from elsewhere: one behind `->` and in `layer f = dense(64)`."""
    before = re.sub(r"[\w.]+\s*$", "", plain[:start])
    return int(re.search(r"(->|^[ \t]*layer[ \t]+\w+[ \t]*=)\s*$", before, re.MULTILINE) is not None)


def _arguments(label: str, name: str) -> tuple[tuple[int, int], ...]:
    """The positions of a signature's arguments: the texts between commas that are inside no other bracket."""
    begin = label.rfind(f"{name}(")  # the last of `classes, classes(unknown), classes(unknown, n)`
    if begin < 0:
        return ()
    begin += len(name) + 1
    cuts, depth = [begin], 0
    for i in range(begin, len(label)):
        if depth == 0 and label[i] in ",)":
            cuts.append(i + 1)
            if label[i] == ")":
                break
        depth += (label[i] in "([") - (label[i] in ")]")
    pieces = [(a + (label[a] == " "), b - 1) for a, b in pairwise(cuts)]
    return tuple(piece for piece in pieces if piece[0] < piece[1])


def _active(label: str, arguments: tuple[tuple[int, int], ...], written: str, skipped: int) -> int | None:
    """The number of the argument that is being written, by its name if it has one, else by the commas before it."""
    pieces, depth = [""], 0
    for character in written:
        if character == "," and depth == 0:
            pieces.append("")
            continue
        depth += (character in "([{") - (character in ")]}")
        pieces[-1] += character
    named = re.match(r"\s*(\w+)\s*=(?!=)", pieces[-1])
    names = [re.split(r"[:=]", label[a:b])[0].strip() for a, b in arguments]
    if named is not None:
        return names.index(named[1]) if named[1] in names else None
    number = len(pieces) - 1 + skipped
    if "..." in names:
        return min(number, names.index("..."))
    return number if number < len(arguments) else None
