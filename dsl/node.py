"""The base of all parts of the syntax tree: comparison without spans, and the walk to the parts inside."""

from collections.abc import Iterator

from msgspec import Struct

from netc.dsl.source import Span


class Node(Struct, frozen=True):
    """A part of the text."""

    span: Span

    def __eq__(self, other: object) -> bool:
        """Whether two trees have the same meaning. Compares in a loop, because a long chain is a deep tree."""
        pending: list[tuple[object, object]] = [(self, other)]
        while pending:
            a, b = pending.pop()
            if type(a) is not type(b):
                return False
            if isinstance(a, Node) and isinstance(b, Node):
                pending += zip(_parts(a), _parts(b), strict=True)
            elif isinstance(a, tuple) and isinstance(b, tuple):
                if len(a) != len(b):
                    return False
                pending += zip(a, b, strict=True)
            elif a != b:
                return False
        return True

    def __hash__(self) -> int:
        return hash((type(self), *(part for part in _parts(self) if isinstance(part, str))))

    def __repr__(self) -> str:
        """The meaning alone, without spans."""
        return f"{type(self).__name__}({', '.join(map(repr, _parts(self)))})"


def _parts(node: Node) -> list[object]:
    """All fields of a node except its span."""
    return [getattr(node, name) for name in type(node).__struct_fields__ if name != "span"]


def children(node: Node) -> Iterator[Node]:
    """Yields the child nodes of a node, in the order of the text."""
    for part in _parts(node):
        if isinstance(part, Node):
            yield part
        elif isinstance(part, tuple):
            yield from (item for item in part if isinstance(item, Node))
