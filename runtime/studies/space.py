"""The search space of a study: which settings vary, over which values, and on which condition.

Plain data and its values; knows neither how a space is read from a text (distributions.py) nor who searches it.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from netc.compiler.elaborate.constants import compute
from netc.compiler.elaborate.settings.replaced import name_of_call
from netc.dsl import syntax
from netc.dsl.printer import expression
from netc.dsl.source import Span
from netc.runtime.runs.run_info import Constant

Values = Mapping[str, Constant]  # by the names of varying settings; one whose condition does not hold is not there


class Edge(Struct, frozen=True):
    """A value of a setting that varies, and the expression of the text that it is."""

    value: Constant
    node: syntax.Expression


class Choice(Struct, frozen=True):
    """Some values, each as `--set` takes it, and as an expression of the text."""

    values: tuple[Constant, ...]
    nodes: tuple[syntax.Expression, ...]

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The values that show whether all can be used: every one."""
        return tuple(map(Edge, self.values, self.nodes))

    @property
    def finite(self) -> tuple[Constant, ...] | None:
        """All values, if there are finitely many."""
        return self.values

    def index_of(self, word: syntax.Expression) -> int | None:
        """The index of the value that a condition names: as it is written, or a call by its name alone."""
        texts = [expression(node) for node in self.nodes]
        text = expression(word)
        if text in texts:
            return texts.index(text)
        names = [name_of_call(node) for node in self.nodes]
        return names.index(text) if text in names else None


class Range(Struct, frozen=True):
    """Numbers from `low` to `high`, both included: whole ones, or multiples of `step` above `low`, or any. With
    `is_log` their logarithms are evenly likely. `nodes` are the bounds as the text has them."""

    low: float
    high: float
    is_whole: bool
    is_log: bool
    step: float | None
    nodes: tuple[syntax.Expression, ...]

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The values that show whether all can be used: the bounds."""
        bounds = (self.low, self.high)
        return tuple(
            Edge(bound, syntax.Number(node.span, repr(bound))) for bound, node in zip(bounds, self.nodes, strict=True)
        )

    @property
    def finite(self) -> tuple[Constant, ...] | None:
        """All values, if there are finitely many."""
        if self.step is None or self.is_log:
            return None
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return tuple(self.low + self.step * i for i in range(count))


Domain = Choice | Range


class Varying(Struct, frozen=True):
    """A setting that varies. Without its `condition` it stays as it is in the file."""

    name: str
    domain: Domain
    condition: syntax.Expression | None
    span: Span


Space = Sequence[Varying]


def is_varied(varying: Varying, space: Space, values: Values) -> bool:
    """Whether a setting varies where those before it have these values."""
    if varying.condition is None:
        return True
    domains = {other.name: other.domain for other in space}
    return all(name in values for name in names_in(varying.condition)) and _holds(varying.condition, domains, values)


def names_in(condition: syntax.Expression) -> list[str]:
    """The names of the settings that a condition reads, in the order of the text."""
    match condition:
        case syntax.Group(value=inner) | syntax.Unary(operand=inner):
            return names_in(inner)
        case syntax.Binary(operator="and" | "or", left=left, right=right):
            return [*names_in(left), *names_in(right)]
        case syntax.Binary(left=syntax.Name(text=text)) | syntax.Name(text=text):
            return [text]
    raise AssertionError(condition)


def _holds(condition: syntax.Expression, domains: Mapping[str, Domain], values: Values) -> bool:
    """Whether a condition, which was checked, holds for some values."""
    match condition:
        case syntax.Group(value=inner):
            return _holds(inner, domains, values)
        case syntax.Unary(operand=inner):
            return not _holds(inner, domains, values)
        case syntax.Binary(operator="and", left=left, right=right):
            return _holds(left, domains, values) and _holds(right, domains, values)
        case syntax.Binary(operator="or", left=left, right=right):
            return _holds(left, domains, values) or _holds(right, domains, values)
        case syntax.Name(text=text):
            return values[text] is True
        case syntax.Binary(operator=symbol, left=syntax.Name(text=text), right=right):
            domain, value = domains[text], values[text]
            if isinstance(domain, Choice) and symbol in ("==", "!="):
                return (domain.values.index(value) == domain.index_of(right)) == (symbol == "==")
            return bool(compute(symbol, value, number_of(right), condition.span))
    raise AssertionError(condition)


def number_of(node: syntax.Expression) -> float:
    """The number that a condition compares with. Raises ValueError if the expression is none."""
    match node:
        case syntax.Number():
            return node.value
        case syntax.Unary(operator="-", operand=syntax.Number() as number):
            return -number.value
    raise ValueError(expression(node))


def edge_cases(varying: Varying, space: Space, free: Sequence[str] = ()) -> Iterator[Mapping[str, Edge]]:
    """Values with which a setting varies, together with those of the settings before it.

    The setting itself, those that its condition needs, and those in `free` have each of their edges, and the others
    their first one.
    """
    before = space[: space.index(varying)]
    needed = {varying.name, *free, *_needed(varying, before)}

    def cases(settings: Space) -> Iterator[dict[str, Edge]]:
        if not settings:
            yield {}
            return
        *earlier, last = settings
        for case in cases(earlier):
            if is_varied(last, space, {name: edge.value for name, edge in case.items()}):
                edges = last.domain.edges if last.name in needed else last.domain.edges[:1]
                yield from ({**case, last.name: edge} for edge in edges)
            else:
                yield case

    return (case for case in cases((*before, varying)) if varying.name in case)


def _needed(varying: Varying, before: Space) -> set[str]:
    """The names of the settings that decide whether one varies."""
    names = set(names_in(varying.condition)) if varying.condition is not None else set()
    for other in reversed(before):
        if other.name in names and other.condition is not None:
            names |= set(names_in(other.condition))
    return names


def grid(space: Space) -> Iterator[Values]:
    """All values of a space that has finitely many, in the order of the text: those of the last setting change first.

    A setting whose condition does not hold is left out.
    """
    if not space:
        yield {}
        return
    for values in grid(space[:-1]):
        if not is_varied(space[-1], space, values):
            yield values
            continue
        for value in space[-1].domain.finite or ():
            yield {**values, space[-1].name: value}


def grid_size(space: Space, most: int) -> int:
    """The number of values of `grid`, or `most` if there are more."""
    return sum(1 for _ in itertools.islice(grid(space), most))
