"""The units of a graph: values that one kernel call computes (or a few), and what each of them reads.

fuse.py makes them, and the rest of the lowering asks them.
"""

from collections.abc import Callable, Iterator
from functools import cached_property

from msgspec import Struct, field

from netc.compiler.ir.forms import Fold, Scalar, View
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value
from netc.compiler.passes.sink import is_scalar

MOST_BUFFERS = 16  # in one loop: each has an alias scope, and registers are few


class Unit(Struct, eq=False):
    """Values that are computed together, at `position` in the program.

    `space` is the dimensions of the points that its loop walks, and `folded` the axes that its folds reduce. `space` is
    None if the unit is not a loop over points.
    """

    position: int
    values: list[Value]
    space: tuple[Dim, ...] | None
    folded: tuple[int, ...] = ()
    reads: set[Value] = field(default_factory=set)  # point by point
    near: set[Value] = field(default_factory=set)  # values that it reads, and those that they are views of


class Fusion(Struct, dict=True):
    """The units of a graph.

    `inlined` values have no memory: the loops that read them compute them. Loops compute values `from_sizes` too, even
    those that are in memory for other readers. `starts` maps a sum to its product; the tile of the product starts from
    the other term.
    """

    units: list[Unit]
    unit_of: dict[Value, Unit]
    inlined: set[Value]
    starts: dict[Value, Value]
    users: dict[Value, list[Value]]
    from_sizes: set[Value]

    @cached_property
    def only_reader(self) -> dict[Value, Unit | None]:
        """The unit in which all users of a value are computed, also those that are inlined there; None if there are
        several.

        Users come after what they use, so one walk from the end sees each value's users first.
        """
        units: dict[Value, Unit | None] = {}
        for value, users in reversed(self.users.items()):
            readers = {
                units[user] if user in self.inlined and is_scalar(user) else self.unit_of.get(user) for user in users
            }
            units[value] = readers.pop() if len(readers) == 1 else None
        return units

    def sources(self, value: Value, space: tuple[Dim, ...] | None = None) -> Iterator[tuple[Value, bool]]:
        """Yields each value in memory that is read to compute a value, and whether it is read point by point."""
        space = walked_by(value) if space is None else space
        first = [(operand, operand.type.dims == space and value not in self.starts) for operand in value.operands]
        pending, seen = first[::-1], set(first)
        while pending:
            source, pointwise = pending.pop()
            if source.role in (Role.CONSTANT, Role.RANGE) or source in self.from_sizes:
                continue
            is_view = isinstance(source.lower, View)
            if not is_view and source not in self.inlined:
                yield source, pointwise
                continue
            is_product = not is_view and not isinstance(source.lower, Scalar)
            keeps = pointwise and not is_view and not is_product
            for pair in [(operand, keeps and operand.type.dims == space) for operand in reversed(source.operands)]:
                if pair not in seen:
                    seen.add(pair)
                    pending.append(pair)

    def views(self, value: Value, space: tuple[Dim, ...]) -> Iterator[Value]:
        """Yields the views that a value reads point by point; values that read the same views read the same memory."""
        for operand in self._read(value, self.inlined.__contains__):
            is_view = isinstance(operand.lower, View)
            if is_view and operand.type.dims == space and operand not in self.from_sizes:
                yield operand

    def large(self, value: Value) -> Iterator[Value]:
        """Yields the batched values that are read to compute a value."""
        for source in self._read(value, lambda operand: operand in self.inlined and is_scalar(operand)):
            if source.type.is_batched and source.role is not Role.CONSTANT and source not in self.from_sizes:
                yield source

    def _read(self, value: Value, is_inside: Callable[[Value], bool]) -> Iterator[Value]:
        """Yields each operand of a value once; an operand inside its loop is replaced by its own operands."""
        pending, seen = list(reversed(value.operands)), set(value.operands)
        while pending:
            operand = pending.pop()
            if not is_inside(operand):
                yield operand
                continue
            for inner in reversed(operand.operands):
                if inner not in seen:
                    seen.add(inner)
                    pending.append(inner)


def walked_by(value: Value) -> tuple[Dim, ...]:
    """The dimensions that a value's loop walks: those of the value, or for a fold those of its operand."""
    is_fold = isinstance(value.lower, Fold)
    return value.operands[0].type.dims if is_fold else value.type.dims
