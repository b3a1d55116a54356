"""Computes cheap values again for readers that read their operands anyway: the gradient of relu(a) tests relu(a) > 0.

A value that a kernel of another form reads (a product, a pool) is in memory. A loop that reads it and the memory that
it is computed from then reads one value too many. Such loops get a copy of the value, which lowering computes inside
them. Whether a loop reads what a value is computed from is estimated, because loops are made later (lowering/fuse.py).
"""

from collections.abc import Callable, Iterable, Mapping

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import OPERATIONS, Fold, Scalar, Value
from netc.compiler.passes.simplify import rebuild
from netc.compiler.passes.sink import is_large, is_light

MOST_STEPS = 8  # cheap operations that are computed again instead of a load
_MOST_VALUES = 64  # between a value and those that are stored, so that the pass takes linear time

Users = Mapping[Value, list[Value]]


def recompute(graph: Graph) -> Graph:
    """Gives all readers of a value that read its only source anyway one copy of it.

    It runs last, because `simplify` would merge the copies again.
    """
    users = {value: graph.users(value) for value in graph.values()}
    cones = _Cones(graph, users)
    again = {value: readers for value in cones.steps if (readers := set(cones.readers_with_source(value)))}
    if not again:
        return graph
    copies: dict[Value, Value] = {}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        for position, original in enumerate(value.operands):
            if value in again.get(original, ()):
                if original not in copies:
                    copies[original] = copy.add_copy(original, operands[position].operands, span=original.span)
                operands[position] = copies[original]
        return copy.add_copy(value, operands)

    return rebuild(graph, rule)


class _Cones:
    """The cheap values of a graph: `steps` has the operations of those that are computed from one large value, their
    `sources`. A value is `inside` if the loops that read it will compute it."""

    def __init__(self, graph: Graph, users: Users) -> None:
        self.users, self.roots = users, set(graph.results.values())
        self.steps: dict[Value, int] = {}
        self.sources: dict[Value, frozenset[Value]] = {}
        self.inside: set[Value] = set()
        for value in graph.values():
            if not is_scalar(value):
                continue
            sources, steps = set[Value](), 1
            for operand in value.operands:
                if operand in self.inside:
                    sources |= self.sources[operand]
                    steps += self.steps.get(operand, MOST_STEPS)
                elif is_large(operand):
                    sources.add(operand)
            self.sources[value] = frozenset(sources)
            if is_light(value) and len(sources) == 1 and steps <= MOST_STEPS:
                self.steps[value] = steps
            if self._is_walked(value) and (len(users[value]) == 1 or value in self.steps):
                self.inside.add(value)

    def _is_walked(self, value: Value) -> bool:
        """Whether only loops over its own points read a value."""
        return value not in self.roots and all(walks(user, value) for user in self.users[value])

    def readers_with_source(self, value: Value) -> Iterable[Value]:
        """Yields the users of a value in memory that are computed only by loops that read its source."""
        (source,) = self.sources[value]
        if value in self.inside or source.role in (Role.INPUT, Role.TARGET):
            return
        for user in self.users[value]:
            if not walks(user, value) or not is_scalar(user) or not self._is_walked(user):
                continue
            between: set[Value] = {user}
            loops = loops_behind(user, self.users, self._is_walked, between)
            inside = self.inside | between
            if loops and all(source in large_reads(loop, inside.__contains__, value) for loop in loops):
                yield user


def is_scalar(value: Value) -> bool:
    """Whether a value is computed element by element."""
    return bool(value.operands) and isinstance(OPERATIONS[value.operation].lower, Scalar)


def walks(user: Value, value: Value) -> bool:
    """Whether a value's user is a loop over the same points."""
    lower = OPERATIONS[user.operation].lower
    if isinstance(lower, Fold):
        return user.operands[0].type.dims == value.type.dims
    return isinstance(lower, Scalar) and user.type.dims == value.type.dims


def loops_behind(
    value: Value, users: Users, passes_on: Callable[[Value], bool], between: set[Value]
) -> list[list[Value]]:
    """Returns the values that are stored or folded where a value is read, by the loops that will compute them: folds
    over the same axes share one. Adds the values on the way to `between`; returns [] if they are too many.

    `passes_on` says of an element-wise value whether its own readers compute it.
    """
    pending, loops, folds = [value], list[list[Value]](), dict[tuple[int, ...], list[Value]]()
    seen: set[Value] = set()
    while pending:
        for user in users[pending.pop()]:
            if user in seen:
                continue
            seen.add(user)
            if isinstance(OPERATIONS[user.operation].lower, Fold):
                folds.setdefault(user.attributes_as(Over).over, []).append(user)
            elif passes_on(user):
                between.add(user)
                pending.append(user)
            else:
                loops.append([user])
        if len(seen) > _MOST_VALUES:
            return []
    return [*loops, *folds.values()]


def large_reads(values: Iterable[Value], is_inside: Callable[[Value], bool], without: Value) -> set[Value]:
    """Returns the large values that a loop reads to compute values, other than to compute the value `without`."""
    pending, seen, large = [operand for value in values for operand in value.operands], {without}, set[Value]()
    while pending:
        operand = pending.pop()
        if operand in seen:
            continue
        seen.add(operand)
        if is_inside(operand):
            pending.extend(operand.operands)
        elif is_large(operand):
            large.add(operand)
    return large
