"""Decides which values of a graph have a name, so that every equation can be read at a glance.

A level is the graph of a model, or the body of a scan, with the derivatives of the loss by its values. Names of the
file stand. Other values get one where a reader needs it: `z1`, `z2`, ... for sums before a function, `h1`, ... for its
results, `t1`, ... for any other part that is shared or would make an equation hard to read.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property

from msgspec import Struct, field

from netc.compiler.analysis.equations.formula import Formula, Name, Sum, parts_of
from netc.compiler.analysis.equations.patterns import SILENT, shown
from netc.compiler.analysis.equations.reading import Reader
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.operations.convolution import conv2d
from netc.compiler.operations.elementwise import add, subtract
from netc.compiler.operations.linear import einsum
from netc.compiler.passes.simplify import simplify

_DEEP = 3  # brackets inside each other in one equation
_LARGE = 20  # names and numbers in one equation
_SMALL = 4  # names and numbers that a reader sees at a glance, so that they may be repeated
LEAVES = (Role.INPUT, Role.TARGET, Role.PARAMETER, Role.STATE)


class Level(Struct, dict=True):
    """A graph with the slopes of its values: the derivatives of the loss by them.

    `forward` are the values of the forward pass, `roots` what has to be stated, and `step` is 0 in the body of a scan.
    `names` grows: it begins with the names that are given, and formulas for leaves that stand for something outside.
    `parts` has the formulas of the parts of scans, `value_of` the value whose slope a named slope is, and `stated` the
    values whose slopes get an equation.
    """

    graph: Graph
    forward: set[Value]
    slopes: dict[Value, Value]
    roots: list[Value]
    names: dict[Value, Formula]
    step: int | None = None
    parts: dict[Value, Formula] = field(default_factory=dict)
    value_of: dict[Value, Value] = field(default_factory=dict)
    stated: list[Value] = field(default_factory=list)

    @cached_property
    def live(self) -> list[Value]:
        """The values that the roots need, in order."""
        needed = set(needed_by(self.roots))
        return [value for value in self.graph.values() if value in needed]

    @cached_property
    def users(self) -> dict[Value, set[Value]]:
        """The values that read a value, also through those that only change its shape."""
        users: dict[Value, set[Value]] = {}
        for value in self.live:
            if value.definition not in SILENT:
                for operand in value.operands:
                    users.setdefault(shown(operand), set()).add(value)
        return users

    def reader(self) -> Reader:
        return Reader(self.names, self.parts)

    def name(self, value: Value, text: str, is_derivative: bool = False) -> None:
        """Gives a value a name."""
        self.names[value] = Name(text, is_derivative, not value.type.sample, self.step)

    def name_of(self, value: Value) -> Name:
        """The name of a value that has one."""
        name = self.names[value]
        assert isinstance(name, Name), f"{value} stands for the formula {name}"
        return name

    def text_of(self, value: Value) -> str:
        """The text of the name of a value that has one."""
        return self.name_of(value).text

    def named(self) -> list[Value]:
        """The values that have a name, in order."""
        return [value for value in self.live if isinstance(self.names.get(value), Name)]

    def varies(self, slope: Value) -> bool:
        """Whether a slope is more than a constant, such as 1 / batch."""
        return any(value.role in (*LEAVES, Role.GIVEN) for value in needed_by([slope]))

    def name_slopes(self) -> None:
        """Names the slopes of named values, each slope once: after the value nearest the loss that has it."""
        self.stated = [value for value in self.named() if value.role not in (Role.GIVEN, Role.PART)]
        for value, slope in self._slopes_to_name():
            self.value_of[slope] = value
            if slope not in self.names:
                self.name(slope, self.text_of(value), is_derivative=True)

    def _slopes_to_name(self) -> Iterable[tuple[Value, Value]]:
        seen = set[Value]()
        for value in reversed(self.stated):
            slope = shown(self.slopes.get(value, value))
            if value in self.slopes and slope not in seen and slope not in self.forward and self.varies(slope):
                seen.add(slope)
                yield value, slope


class Namer:
    """Names what needs a name. `taken` are the names that exist at any level."""

    def __init__(self, level: Level, taken: set[str]) -> None:
        self.level, self.taken = level, taken

    def run(self) -> None:
        """Names values between layers, then slopes of named values, then shared and inner parts."""
        self._name_between_layers()
        self.level.name_slopes()
        self._name_parts()

    def _give(self, value: Value, letter: str) -> None:
        self.level.name(value, new_name(letter, self.taken))

    def _can_have_name(self, value: Value) -> bool:
        is_leaf = not value.operands or value.definition in SILENT or value.role in (Role.SCAN, Role.PART)
        return not is_leaf and value not in self.level.names and value.type.dtype != "bool"

    def _name_between_layers(self) -> None:
        """Names the values that go into a product, and those by whose slope several others are computed."""
        level = self.level
        for value in level.live:
            slope = level.slopes.get(value)
            if value not in level.forward or not self._can_have_name(value) or slope is None or not level.varies(slope):
                continue
            users = level.users.get(value, set())
            feeds = any(user.role is Role.CONTRACTION for user in users if user in level.slopes)
            if feeds or len(users) > 2 or self._is_last_with(value, slope):
                self._give(value, _letter(value))

    def _is_last_with(self, value: Value, slope: Value) -> bool:
        """Whether several values read a slope, no value of the file has it, and this is the one nearest the loss."""
        slope = shown(slope)
        if len(self.level.users.get(slope, ())) < 2 or slope in self.level.names:
            return False
        others = [other for other, slope_value in self.level.slopes.items() if shown(slope_value) is slope]
        has_name = any(other in self.level.names for other in others)
        return not has_name and value is max(others, key=lambda other: other.number)

    def _name_parts(self) -> None:
        """Names what several equations share, and the inner parts of equations that would be hard to read."""
        level = self.level
        for value in level.live:
            if value.definition in SILENT or not value.operands or value.role in (Role.SCAN, Role.PART):
                continue
            formula = level.reader().definition(value)
            while depth(formula) > _DEEP or weight(formula) > _LARGE:
                inner = self._heaviest(value)
                if inner is None:
                    break
                self._give(inner, "t")
                formula = level.reader().definition(value)
            is_shared = len(level.users.get(value, ())) > 1 and weight(formula) > _SMALL
            if is_shared and self._can_have_name(value):
                self._give(value, "t")

    def _heaviest(self, value: Value) -> Value | None:
        """The part of a formula with the most brackets inside each other that can have a name."""
        reader, pending, parts = self.level.reader(), [*value.operands], list[Value]()
        while pending:
            inner = shown(pending.pop())
            if inner not in self.level.names and inner.operands:
                pending.extend(inner.operands)
                parts.append(inner)
        parts = [part for part in parts if self._can_have_name(part) and weight(reader.formula(part)) > 1]
        return max(parts, key=lambda part: (depth(reader.formula(part)), -part.number), default=None)


def simplified(
    graph: Graph, forward: list[Value], slopes: Mapping[Value, Value]
) -> tuple[Graph, dict[Value, Value], dict[Value, Value]]:
    """A simplified copy of a graph, the copies of its forward values, and the slopes of these copies."""
    graph.results = {_key("value", value): value for value in forward if value.role is not Role.SCAN}
    graph.results |= {_key("slope", value): slopes[value] for value in forward if value in slopes}
    simple = simplify(graph)
    copies = {value: simple.results[key] for value in forward if (key := _key("value", value)) in simple.results}
    return simple, copies, {copies[value]: simple.results[_key("slope", value)] for value in copies if value in slopes}


def _key(kind: str, value: Value) -> Result:
    return ResultKind.VALUE.named(f"{kind}.{value.number}")


def new_name(letter: str, taken: set[str]) -> str:
    """`z1`, or the first number that is not taken; it is taken then."""
    count = 1
    while f"{letter}{count}" in taken:
        count += 1
    taken.add(f"{letter}{count}")
    return f"{letter}{count}"


def _letter(value: Value) -> str:
    """`z` for a sum before a function, `h` for a function of such a sum, `t` for what does not depend on data."""
    if not value.type.is_batched:
        return "t"
    return "z" if value.definition in (einsum, conv2d, add, subtract) else "h"


def depth(formula: Formula) -> int:
    """The depth of nested brackets."""
    if isinstance(formula, Name):
        return 0
    inner = max(map(depth, parts_of(formula)), default=0)
    if isinstance(formula, Sum):
        sums = [part for part in parts_of(formula) if isinstance(part, Sum)]
        return max([inner, *(depth(part) + 1 for part in sums)])
    return inner + 1


def weight(formula: Formula) -> int:
    """The names and numbers in a formula, about."""
    return 1 + sum(map(weight, parts_of(formula))) if parts_of(formula) else 1


def is_short(formula: Formula) -> bool:
    """Whether a formula may be repeated without a name."""
    return weight(formula) <= _SMALL
