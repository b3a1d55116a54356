"""Two graphs side by side: each as text in which values have labels that do not move when another value is added.

A label is made of a value's operation and its line in the file: `tanh@14`.
"""

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.graph import Body, Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.dsl.source import Source

LineOf = Callable[[Value], str]


def line_in_file(value: Value) -> str:
    """The number of a value's line in the file."""
    return str(value.span.line)


class Lines(Struct, frozen=True):
    """The lines of a second text by the numbers of a first one.

    A line of both texts, changed or not, has the first one's number; `new 7` is a line of only the second.
    """

    numbers: Mapping[int, str]

    @classmethod
    def of(cls, first: Source, second: Source) -> "Lines":
        """Compares two texts line by line, without their comments."""
        before, after = (
            [" ".join(line.partition("#")[0].split()) for line in source.text.split("\n")] for source in (first, second)
        )
        numbers = {}
        for tag, i, j, k, end in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
            if tag in ("equal", "replace"):
                numbers.update({k + n + 1: str(i + n + 1) for n in range(min(j - i, end - k))})
        return cls(numbers)

    def of_value(self, value: Value) -> str:
        """The line of a value of the second text."""
        return self.numbers.get(value.span.line, f"new {value.span.line}")


class _Labelled(Struct, frozen=True):
    """A value of the graph before: a hash of how it is computed, its operation and line, and its label."""

    key: str
    kind: str
    label: str


class Labels:
    """Labels of the values of one graph and then of another: `tanh@14`, and `tanh@14.2` for a second one of the line.

    A value that is computed as one of the first graph has its label. The other values are aligned, in order, with what
    is left of the first graph: values of the same operation and line share a label.
    """

    def __init__(self) -> None:
        self.before: list[_Labelled] = []
        self.counts: Counter[str] = Counter()

    def of(self, graph: Graph, line_of: LineOf) -> dict[Value, str]:
        """The labels of a graph's values; a constant's is its number, a leaf's its name."""
        live = graph.live()
        values = [value for value in graph.values() if value in live]
        keys, labels, entries = _keys(values), dict[Value, str](), list[Value]()
        for value in values:
            if value.role is Role.CONSTANT:
                labels[value] = f"{value.attributes_as(Constant).value}"
            elif value.name:
                labels[value] = value.name
            else:
                entries.append(value)
        rest = list(self.before)
        for value in entries:
            same = next((labelled for labelled in rest if labelled.key == keys[value]), None)
            if same is not None:
                labels[value] = same.label
                rest.remove(same)
        kinds = {value: f"{value.operation}@{line_of(value)}" for value in entries}
        new = [value for value in entries if value not in labels]
        old_kinds, new_kinds = [labelled.kind for labelled in rest], [kinds[value] for value in new]
        matcher = difflib.SequenceMatcher(None, old_kinds, new_kinds, autojunk=False)
        for i, k, count in matcher.get_matching_blocks():
            labels.update({new[k + n]: rest[i + n].label for n in range(count)})
        for value in new:
            if value not in labels:
                labels[value] = self._new(kinds[value])
        self.before = [_Labelled(keys[value], kinds[value], labels[value]) for value in entries]
        return labels

    def _new(self, kind: str) -> str:
        self.counts[kind] += 1
        return kind if self.counts[kind] == 1 else f"{kind}.{self.counts[kind]}"


def _keys(values: Sequence[Value]) -> dict[Value, str]:
    """A hash of how each value is computed, its operands and theirs included."""
    keys: dict[Value, str] = {}
    for value in values:
        text = repr((value.operation, sorted(value.keywords.items(), key=lambda item: item[0]), str(value.type)))
        parts = " ".join([text, *(keys[operand] for operand in value.operands)])
        keys[value] = hashlib.sha256(parts.encode()).hexdigest()
    return keys


def as_lines(graph: Graph, labels: Labels, line_of: LineOf = line_in_file, inside: str = "") -> list[str]:
    """The graph as text: a line for each value, `tanh@14 = tanh(add@14) : f32[batch, 16]`, then the results."""
    names, lines = labels.of(graph, line_of), []
    live = graph.live()
    for value in graph.values():
        if value not in live or value.role is Role.CONSTANT:
            continue
        shown = [
            f"{key}={item!r}" for key, item in value.keywords.items() if not isinstance(item, Body) and key != "name"
        ]
        attributes = f"[{', '.join(shown)}]" if shown else ""
        operands = ", ".join(names[operand] for operand in value.operands)
        lines.append(f"{inside}{names[value]} = {value.operation}{attributes}({operands}) : {value.type}")
        for item in value.keywords.values():
            if isinstance(item, Body):
                lines += as_lines(item.graph, Labels(), line_of, f"{inside}  ")
    return [
        *lines,
        *(
            f"{inside}{name} = {names[value]}"
            for name, value in sorted(graph.results.items(), key=lambda item: str(item[0]))
        ),
    ]


def difference(before: list[str], after: list[str]) -> Iterator[str]:
    """The lines that are removed (-) and added (+) on the way from one text to another, with the lines around them."""
    for line in difflib.unified_diff(before, after, lineterm="", n=2):
        if not line.startswith(("---", "+++")):
            yield line
