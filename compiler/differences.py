"""Two graphs side by side: a graph as text in which a value is called by what it is and where it is from, not by a number that moves with every change."""

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.graph import Body, Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.dsl.source import Source

LineOf = Callable[[Value], str]


def own_line(value: Value) -> str:
    """The line of the file that a value was made for."""
    return str(value.span.line)


@dataclass(frozen=True, slots=True)
class Lines:
    """Which line of one text is which of another: those that both have, changed or not, keep the first one's number,
    and `new 7` is one that only the second has."""

    numbers: Mapping[int, str]

    @classmethod
    def of(cls, one: Source, other: Source) -> "Lines":
        before, after = (
            [" ".join(line.partition("#")[0].split()) for line in text.text.split("\n")] for text in (one, other)
        )
        numbers = {}
        for tag, i, j, k, end in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
            if tag in ("equal", "replace"):
                numbers.update({k + n + 1: str(i + n + 1) for n in range(min(j - i, end - k))})
        return cls(numbers)

    def of_value(self, value: Value) -> str:
        return self.numbers.get(value.span.line, f"new {value.span.line}")


class Labels:
    """What values are called, in one graph and then in another: `tanh@14`, the operation and the line that it is from, `tanh@14.2` for a second one.

    A value of the second graph that is computed as one of the first is called so. The others are laid side by side with what is left of the first, in order:
    those of the same operation and line share a name.
    """

    def __init__(self) -> None:
        self.before: list[
            tuple[str, str, str]
        ] = []  # of the graph before: how a value is computed, its operation and line, its label
        self.counts: Counter[str] = Counter()

    def of(self, graph: Graph, line_of: LineOf) -> dict[Value, str]:
        """The labels of a graph's values; a constant is called by its number, a leaf by its name."""
        live = graph.live()
        values = [value for value in graph.values() if value in live]
        keys, found, own = dict[Value, str](), dict[Value, str](), list[Value]()
        for value in values:
            told = repr((value.operation, sorted(value.keywords.items(), key=lambda item: item[0]), str(value.type)))
            keys[value] = hashlib.sha256(" ".join([told, *(keys[one] for one in value.operands)]).encode()).hexdigest()
            if value.role is Role.CONSTANT:
                found[value] = f"{value.attributes_as(Constant).value}"
            elif value.name:
                found[value] = value.name
            else:
                own.append(value)
        rest = list(self.before)
        for value in own:
            same = next((one for one in rest if one[0] == keys[value]), None)
            if same is not None:
                found[value] = same[2]
                rest.remove(same)
        kinds = {value: f"{value.operation}@{line_of(value)}" for value in own}
        new = [value for value in own if value not in found]
        matcher = difflib.SequenceMatcher(None, [one[1] for one in rest], [kinds[one] for one in new], autojunk=False)
        for i, k, count in matcher.get_matching_blocks():
            found.update({new[k + n]: rest[i + n][2] for n in range(count)})
        for value in new:
            if value not in found:
                found[value] = self._new(kinds[value])
        self.before = [(keys[value], kinds[value], found[value]) for value in own]
        return found

    def _new(self, kind: str) -> str:
        self.counts[kind] += 1
        return kind if self.counts[kind] == 1 else f"{kind}.{self.counts[kind]}"


def as_lines(graph: Graph, labels: Labels, line_of: LineOf = own_line, inside: str = "") -> list[str]:
    """A line a value, `tanh@14 = tanh(add@14) : f32[batch, 16]`, and the results."""
    names, lines = labels.of(graph, line_of), []
    live = graph.live()
    for value in graph.values():
        if value not in live or value.role is Role.CONSTANT:
            continue
        shown = [
            f"{key}={item!r}" for key, item in value.keywords.items() if not isinstance(item, Body) and key != "name"
        ]
        told = f"[{', '.join(shown)}]" if shown else ""
        operands = ", ".join(names[one] for one in value.operands)
        lines.append(f"{inside}{names[value]} = {value.operation}{told}({operands}) : {value.type}")
        for item in value.keywords.values():
            if isinstance(item, Body):
                lines += as_lines(item.graph, Labels(), line_of, f"{inside}  ")
    return [*lines, *(f"{inside}{name} = {names[value]}" for name, value in sorted(graph.results.items()))]


def difference(one: list[str], other: list[str]) -> Iterator[str]:
    """What has to be taken away (-) from one and added (+) to it to come to the other, with what stands around."""
    yield from (
        line for line in difflib.unified_diff(one, other, lineterm="", n=2) if not line.startswith(("---", "+++"))
    )
