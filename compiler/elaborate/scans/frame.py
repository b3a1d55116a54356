"""The surroundings of a model's graph (its varying dimensions) and of a scan's body (a frame) during elaboration.

A body takes index tables, random numbers and the leaf `training` from the graph around it, and every value of that
graph through a leaf of its own.
"""

from collections.abc import Sequence

from msgspec import Struct, field

from netc.compiler.ir.attributes import Attributes, Given
from netc.compiler.ir.dims import bound_of
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import parse_table
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Mismatch, Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations import bounded
from netc.compiler.operations.random import RANDOM
from netc.compiler.operations.scan import SlotKind, add_leaf
from netc.dsl.source import NOWHERE, Span


class Dimensions(Struct):
    """The varying dimensions of a model, the surroundings of its graph.

    `spans` says where each was named first, `bounds` how many steps it has at most; `lengths` are those that the model
    itself computes (`scan ... until`). The methods are those of Surroundings (value.py).
    """

    spans: dict[str, Span] = field(default_factory=dict)
    bounds: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, Value] = field(default_factory=dict)

    def bound(self, dim: str) -> int | None:
        return bound_of(dim, self.bounds)

    def length(self, dim: str) -> Value | None:
        return self.lengths.get(dim)

    def has_rows(self, dim: str) -> bool:
        return dim not in self.lengths

    def add_outside(self, *_: object, **__: object) -> Value | None:
        return None


class Frame:
    """The body of a scan along `dim` while it is elaborated, and the surroundings of its graph.

    `graph` is the body, `outside` the graph around it. `walked` are the sequences whose elements at each step are the
    leaves `x0`, `x1`, ...; `captured` maps each other outside value that the body uses to the leaf that stands for it.
    The methods up to `add_outside` are those of Surroundings (value.py).
    """

    def __init__(self, outside: Graph, dim: str) -> None:
        self.graph = Graph(self)
        self.graph.precision = outside.precision
        self.outside, self.dim = outside, dim
        self.walked: list[Value] = []
        self.captured: dict[Value, Value] = {}

    def bound(self, dim: str) -> int | None:
        return self.outside.surroundings.bound(dim)

    def length(self, dim: str) -> Value | None:
        computed = self.outside.surroundings.length(dim)
        return None if computed is None else self.local(computed)

    def has_rows(self, dim: str) -> bool:
        return False

    def add_outside(
        self,
        operation: str,
        operands: Sequence[Value],
        attributes: Attributes,
        type_: Type,
        span: Span | None,
    ) -> Value | None:
        """The leaf for an index table, for a random value, which is drawn for all steps at once, or for `training`;
        None for any other value."""
        is_table = isinstance(attributes, Given) and parse_table(attributes.name) is not None
        if is_table or operation == "training":
            return self.capture(self.outside.add(operation, operands, attributes, type_, span))
        if operation not in RANDOM:
            return None
        if not type_.lead:
            message = "a random value that is the same for all samples does not run in a scan yet"
            raise Mismatch(message, code="E0901")
        dims = (self.dim, *type_.dims[1:])
        like = apply("broadcast", self.outside.constant(0.0, type_), dims=dims)
        return self.walk(self.outside.add(operation, [like], attributes, like.type, span or self.graph.span))

    def walk(self, rows: Value) -> Value:
        """The leaf for a sequence's element at each step."""
        self.walked.append(rows)
        type_ = rows.type.with_dims((BATCH, *rows.type.dims[1:]))
        return add_leaf(self.graph, SlotKind.STEP_INPUT.slot(len(self.walked) - 1), type_)

    def local(self, value: Value) -> Value:
        """A value of the body as it is, one of outside as its leaf.

        A sequence of outside stands at its bound, behind the batch.
        """
        return value if value.graph is self.graph else self.capture(value)

    def capture(self, value: Value) -> Value:
        """The leaf for a value of outside."""
        with self.outside.at(value.span if self.graph.span is NOWHERE else self.graph.span):
            value = bounded.hold(value)
        if value.role is Role.TRAINING:  # one leaf is enough
            value = next((outer for outer in self.captured if outer.role is Role.TRAINING), value)
        if value not in self.captured:
            self.captured[value] = add_leaf(self.graph, SlotKind.CAPTURED.slot(len(self.captured)), value.type)
        return self.captured[value]

    def stands_for(self, leaf: Value) -> Value:
        """The outside value that a leaf of the body stands for; any other value as it is."""
        return next((outer for outer, inner in self.captured.items() if inner is leaf), leaf)
