"""The two things a graph is made of: operations (what can be done) and values (what was done, once, in one graph).

An `Operation` is one object that holds everything about it; registering it makes it part of the language. A `Value`
is one result in one graph. This file knows no particular operation and no pass.
"""

import builtins  # for `type`, where a field has that name
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct, field

from netc.compiler.ir.attributes import LEAVES, Attribute, Attributes, Given, Named, attributes_class, keywords_of
from netc.compiler.ir.forms import Expansion, KernelRule, View
from netc.compiler.ir.roles import LEAVES as LEAF_ROLES
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import DTypeName, Mismatch, Type
from netc.dsl.source import Span

A = TypeVar("A", bound=Attributes)
L = TypeVar("L")


class Surroundings(Protocol):
    """The context of a graph while a model is elaborated into it (elaborate/scans/frame.py).

    A finished graph has none (graph.NO_SURROUNDINGS).
    """

    def bound(self, dim: str) -> int | None:
        """The most steps that a sample has along a varying dimension, or None if it has no bound."""

    def length(self, dim: str) -> "Value | None":
        """The number of each sample's steps, i32[batch], if the model itself computes it; None if the data gives it."""

    def has_rows(self, dim: str) -> bool:
        """Whether values may have a row for each step of a varying dimension; otherwise it is stored at its bound."""

    def add_outside(
        self,
        operation: str,
        operands: Sequence["Value"],
        attributes: Attributes,
        type_: Type,
        span: Span | None,
    ) -> "Value | None":
        """Adds the value to the graph around this one and returns what stands for it here; None if it belongs here."""


class Builder(Protocol):
    """The interface for adding values to a graph."""

    precision: DTypeName
    surroundings: Surroundings

    def add(
        self,
        operation: str,
        operands: Sequence["Value"],
        attributes: Attributes | Mapping[str, Attribute],
        type_: Type,
    ) -> "Value": ...

    def add_copy(
        self,
        value: "Value",
        operands: Sequence["Value"],
        attributes: Attributes | Mapping[str, Attribute] | None = None,
        type_: Type | None = None,
    ) -> "Value": ...

    def constant(self, number: float, like: Type) -> "Value": ...

    def leaf(self, role: Role, name: str, type_: Type, per: str | None = None) -> "Value": ...


class Value(Struct, frozen=True, eq=False):
    """One typed result: operation, operands in order, attributes, type, and its span in the source text."""

    graph: Builder
    number: int
    operation: str
    operands: tuple["Value", ...]
    attributes: Attributes
    type: Type
    span: Span

    def __hash__(self) -> int:
        return self.number

    def __repr__(self) -> str:  # without operands, whose operands would follow
        parts = f"number={self.number}, operation={self.operation!r}, attributes={self.attributes}, type={self.type}"
        return f"Value({parts})"

    def attributes_as(self, kind: builtins.type[A]) -> A:
        """The attributes, as an object of the class `kind`, which they must belong to."""
        assert isinstance(self.attributes, kind), f"{self} has no {kind.__name__}"
        return self.attributes

    @property
    def lower(self) -> "KernelRule | None":
        """The rule by which operands become this value in a kernel; None for a value without operands."""
        return OPERATIONS[self.operation].lower if self.operands else None

    def lowered_as(self, kind: builtins.type[L]) -> L:
        """The rule by which the operation becomes a kernel, which must be an object of the class `kind`."""
        lower = OPERATIONS[self.operation].lower
        assert isinstance(lower, kind), f"{self} is not a {kind.__name__}, {self.span}"
        return lower

    @property
    def keywords(self) -> dict[str, Any]:
        """The attributes by name, as the rules of the operation take them."""
        return keywords_of(self.attributes)

    @property
    def definition(self) -> "Operation | None":
        """The operation as it is registered; leaves have none."""
        return OPERATIONS.get(self.operation)

    @property
    def role(self) -> Role | None:
        """The kind of a leaf, or the role that the operation declares; None if passes do not treat it specially."""
        definition = self.definition
        return definition.role if definition is not None else LEAF_ROLES.get(self.operation)

    @property
    def is_per_step(self) -> bool:
        """Whether this is a leaf that has a new value for each training step."""
        return isinstance(self.attributes, Given) and self.attributes.per == "step"

    @property
    def is_of_batch(self) -> bool:
        """Whether this is a leaf whose rows are those of the batch, in its order: they need not be gathered."""
        return isinstance(self.attributes, Given) and self.attributes.per == "batch"

    @property
    def name(self) -> str:
        """The name of a leaf that comes from outside the graph, and an empty text for every other value."""
        return self.attributes.name if isinstance(self.attributes, Named) else ""

    def __add__(self, other: "Value | float") -> "Value":
        return apply("add", self, other)

    def __radd__(self, other: float) -> "Value":
        return apply("add", other, self)

    def __sub__(self, other: "Value | float") -> "Value":
        return apply("subtract", self, other)

    def __rsub__(self, other: float) -> "Value":
        return apply("subtract", other, self)

    def __mul__(self, other: "Value | float") -> "Value":
        return apply("multiply", self, other)

    def __rmul__(self, other: float) -> "Value":
        return apply("multiply", other, self)

    def __truediv__(self, other: "Value | float") -> "Value":
        return apply("divide", self, other)

    def __rtruediv__(self, other: float) -> "Value":
        return apply("divide", other, self)

    def __neg__(self) -> "Value":
        return apply("neg", self)

    def __lt__(self, other: "Value | float") -> "Value":
        return apply("less", self, other)

    def __le__(self, other: "Value | float") -> "Value":
        return apply("less_equal", self, other)

    def __gt__(self, other: "Value | float") -> "Value":
        return apply("greater", self, other)

    def __ge__(self, other: "Value | float") -> "Value":
        return apply("greater_equal", self, other)


def viewed(value: Value) -> Value:
    """The value that a view shows in another shape; any other value is returned as it is."""
    while isinstance(value.lower, View):
        value = value.operands[0]
    return value


# an operation is defined once, so identity says which it is
class Operation(Struct, frozen=True, eq=False):
    """One operation, with everything about it.

    `arguments` defines its call in the language: name -> kind ("value", "values", "axes", "axis", "number" for an
    integer, "real", "dims", "all dims"), with a default after `=`.
    `attributes` is the class of its values' attributes; if None, a class is made from the names in the call.
    `role` tells passes that treat some operations specially what it is.
    `takes_sizes`: `reference` also takes `sizes`, the sizes of the named dimensions.
    `type` returns the result's type from the operands' types and the attributes, or raises Mismatch.
    `gradient(g, result, *operands, **attributes)` returns the gradient of each operand, None where there is none.
    `reference(*arrays, **attributes)` defines its meaning, in NumPy.
    `examples` are pairs (operand types, attributes), from which the tests are made.
    """

    name: str
    doc: str
    type: Callable[..., Type]
    reference: Callable[..., Any]
    lower: KernelRule
    arguments: Mapping[str, str] = field(default_factory=dict)
    gradient: Callable[..., Any] | None = None
    examples: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = ()
    domain: tuple[float, float] = (-2.0, 2.0)
    is_callable: bool = True
    attributes: builtins.type[Attributes] | None = None
    role: Role | None = None
    takes_sizes: bool = False

    def __repr__(self) -> str:
        return f"<Operation {self.name}({', '.join(self.arguments)})>"

    def __call__(self, *operands: "Value | float", **attributes: Any) -> Value:
        """Applies the operation to values of one graph; numbers among the operands become constants."""
        if isinstance(self.lower, Expansion) and self.gradient is None:
            expansion: Value = self.lower.build(*operands, **attributes)
            return expansion
        values = [operand for operand in operands if isinstance(operand, Value)]
        anchor = values[0]
        if not anchor.type.is_float:
            anchor = next((operand for operand in values if operand.type.is_float), anchor)
        if len(values) < len(operands):
            values = [
                operand if isinstance(operand, Value) else anchor.graph.constant(operand, anchor.type)
                for operand in operands
            ]
        type_ = self.type(*[value.type for value in values], **attributes)
        return anchor.graph.add(self.name, values, attributes, type_)


OPERATIONS: dict[str, Operation] = {}


def register(operation: Operation) -> Operation:
    """Makes the operation part of the language. Raises ValueError if its name is taken."""
    if operation.name in OPERATIONS:
        raise ValueError(f"an operation `{operation.name}` is registered already")
    OPERATIONS[operation.name] = operation
    return operation


def make_attributes(operation: str, keywords: Mapping[str, Attribute]) -> Attributes:
    """Makes the attributes of an operation or a leaf, of the class that it declares.

    Raises TypeError if the class does not have these fields.
    """
    kind = LEAVES.get(operation)
    if kind is None and operation in OPERATIONS:
        kind = OPERATIONS[operation].attributes
    return (kind or attributes_class(tuple(keywords)))(**keywords)


def apply(name: str, *operands: "Value | float", **attributes: Any) -> Value:
    """Applies the registered operation with this name."""
    return OPERATIONS[name](*operands, **attributes)


__all__ = [
    "OPERATIONS",
    "Attribute",
    "Attributes",
    "Builder",
    "Mismatch",
    "Operation",
    "Surroundings",
    "Value",
    "apply",
    "make_attributes",
    "register",
]
