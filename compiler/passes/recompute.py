"""Computes cheap values again where that moves fewer bytes than keeping them in memory.

Two kinds of readers get a copy of a value such as r = relu(a), which is in memory because a product or pool reads it:

- A loop that reads r and a: the gradient of relu tests r > 0 and needs a. Lowering computes the copy inside the loop,
  which then reads one value less.
- A product of the backward pass, long after the forward pass: r would be in memory until then. The copy is computed in
  the backward pass, if a is still needed there.

Whether something reads a is estimated, because loops are made later (lowering/fuse.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.forms import Fold, Scalar, View
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.operations.shape import Pad
from netc.compiler.passes.simplify import rebuild
from netc.compiler.passes.sink import is_large, is_light, is_scalar, is_spread

MOST_STEPS = 8  # cheap operations that replace a load
_MOST_VALUES = 64  # between a value and the stored ones that it leads to, so that the pass takes linear time

Users = Mapping[Value, list[Value]]


def recompute(graph: Graph) -> Graph:
    """Gives copies of a value to its readers that read its only source anyway: one to loops, and one to late products.

    It runs last, because `simplify` would merge the copies again.
    """
    users = graph.all_users()
    cones = _Cones(graph, users)
    loops = {value: readers for value in cones.steps if (readers := set(cones.readers_with_source(value)))}
    products: dict[Value, set[Value]] = {}  # by the operand that they read
    chains: set[Value] = set()  # values between the copied ones and the products
    for chain, product in (pair for value in cones.steps for pair in cones.late_products(value)):
        products.setdefault(chain[-1], set()).add(product)
        chains.update(chain)
    if not loops and not products:
        return graph
    in_loops: dict[Value, Value] = {}
    for_products: dict[Value, Value] = {}

    def copied(copy: Graph, original: Value, ordinary: Value) -> Value:
        """Returns the copy of a value for late products; `ordinary` is the value in the new graph."""
        if original not in for_products:
            pairs = zip(original.operands, ordinary.operands, strict=True)
            operands = [copied(copy, *pair) if pair[0] in chains else pair[1] for pair in pairs]
            for_products[original] = copy.add_copy(original, operands, span=original.span)
        return for_products[original]

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        for position, original in enumerate(value.operands):
            if value in products.get(original, ()):
                operands[position] = copied(copy, original, operands[position])
            elif value in loops.get(original, ()):
                if original not in in_loops:
                    in_loops[original] = copy.add_copy(original, operands[position].operands, span=original.span)
                operands[position] = in_loops[original]
        return copy.add_copy(value, operands)

    return rebuild(graph, rule)


class _Cones:
    """The cheap values of a graph.

    `sources` has the large values that each element-wise value is computed from, `steps` the number of operations of
    those that have a single source. A value is `inside` if the loops that read it will compute it.
    """

    def __init__(self, graph: Graph, users: Users) -> None:
        self.users, self.roots = users, set(graph.results.values())
        totals = [value.number for result, value in graph.results.items() if result.kind is ResultKind.TOTAL]
        self.end_of_forward = max(totals, default=None)  # values of the backward pass have larger numbers
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
            if (is_light(value) or is_spread(value)) and len(sources) == 1 and steps <= MOST_STEPS:
                self.steps[value] = steps
            if self._is_walked(value) and (len(users[value]) == 1 or value in self.steps):
                self.inside.add(value)

    def _is_walked(self, value: Value) -> bool:
        """Whether only loops over its own points read a value."""
        return value not in self.roots and all(walks(user, value) for user in self.users[value])

    def _is_stored(self, value: Value) -> bool:
        """Whether a value is in memory, and computed from another one that is."""
        (source,) = self.sources[value]
        return value not in self.inside and source.role not in (Role.INPUT, Role.TARGET)

    def readers_with_source(self, value: Value) -> Iterable[Value]:
        """Yields the users of a value in memory that are computed only by loops that read its source."""
        if not self._is_stored(value):
            return
        (source,) = self.sources[value]
        for user in self.users[value]:
            if not walks(user, value) or not is_scalar(user) or not self._is_walked(user):
                continue
            between: set[Value] = {user}
            loops = loops_behind(user, self.users, self._is_walked, between)
            inside = self.inside | between
            if loops and all(source in large_reads(loop, inside.__contains__, value) for loop in loops):
                yield user

    def late_products(self, value: Value) -> Iterator[tuple[list[Value], Value]]:
        """Yields the products of the backward pass that read a value of the forward pass, if its source is read after
        them: each with the value and its views and pads up to the operand."""
        end = self.end_of_forward
        if end is None or value.number > end or value in self.roots or not self._is_stored(value):
            return
        (source,) = self.sources[value]
        last = max((reader.number for reader in self._readers(source)), default=0)
        pending = [[value]]
        while pending:
            chain = pending.pop()
            for user in self.users[chain[-1]]:
                if isinstance(user.lower, View) or isinstance(user.attributes, Pad):
                    pending.append([*chain, user])
                elif user.role is Role.CONTRACTION and end < user.number < last:
                    yield chain, user

    def _readers(self, source: Value) -> Iterator[Value]:
        """Yields the values whose kernels read a value, also where they compute others from it on the way."""
        pending, seen = [source], set[Value]()
        while pending:
            for user in self.users[pending.pop()]:
                if user not in seen:
                    seen.add(user)
                    if user in self.inside:
                        pending.append(user)
                    else:
                        yield user


def walks(user: Value, value: Value) -> bool:
    """Whether a value's user is a loop over the same points."""
    lower = user.lower
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
            if isinstance(user.lower, Fold):
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
