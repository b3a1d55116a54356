"""What a name can stand for while a model is elaborated, and where names are looked up."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from netc.compiler.ir.value import Operation, Value
from netc.dsl import syntax
from netc.dsl.source import Span

Constant = int | float | bool | str | tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """Several results of one application; where one is wanted, the first is taken."""

    items: tuple["Item", ...]


@dataclass(frozen=True, slots=True)
class Weighted:
    """`weighted(e, w)`: what is added up, and what that sum is divided by; of equal shapes."""

    value: Value
    weight: Value


@dataclass(frozen=True, slots=True)
class Applied:
    """That an operation or a block of the library (`is_builtin`), or one of the file's, was applied: to which values, written where, giving what."""

    name: str
    is_builtin: bool
    operands: tuple[Value, ...]
    spans: tuple[Span, ...]
    result: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Assigned:
    """That a name at a place in the text became a value: with it came the values of its graph from number `first` up to `end`, and new parameters."""

    span: Span
    value: Value
    first: int
    end: int
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlockFunction:
    """A block, and the arguments that it has been given so far (`lstm(64)` lacks only its first). `others` of the same name take a first argument of another rank."""

    block: syntax.Block
    scope: "Scope"
    others: tuple[syntax.Block, ...] = ()
    given: tuple[syntax.Argument, ...] = ()
    given_scope: "Scope | None" = None


@dataclass(slots=True)
class LayerInstance:
    """`layer f = dense(64)`: its parameters (`W`, or `dense.W` of a block inside) are made by the first application and shared by the others."""

    name: str
    function: BlockFunction
    parameters: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UserOperation:
    """`op swish(x) = x * sigmoid(x)`."""

    op: syntax.Op
    scope: "Scope"


@dataclass(frozen=True, slots=True)
class Namespace:
    """`import "blocks.net" as b`."""

    scope: "Scope"


@dataclass(frozen=True, slots=True)
class Length:
    """A varying dimension's name: an axis, or how long each sample is."""

    dim: str

    def __str__(self) -> str:
        return self.dim


@dataclass(frozen=True, slots=True)
class Broken:
    """A name whose statement is at fault: whoever uses it is not told again."""


Item = (
    Value
    | Constant
    | Results
    | Weighted
    | BlockFunction
    | LayerInstance
    | UserOperation
    | Namespace
    | Operation
    | Length
    | Broken
)


@dataclass(slots=True)
class Scope:
    """Names and where they were defined; what is not here may be in the scope around. `later` is where names will be defined that are not yet."""

    around: "Scope | None" = None
    names: dict[str, Item] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)
    later: dict[str, Span] = field(default_factory=dict)

    def find(self, name: str) -> Item | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.around
        return None

    def set(self, name: str, item: Item, span: Span) -> None:
        self.names[name], self.places[name] = item, span

    def defined_later(self, name: str) -> Span | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.later:
                return scope.later[name]
            scope = scope.around
        return None

    def all_names(self) -> Iterator[str]:
        yield from self.names
        if self.around is not None:
            yield from self.around.all_names()


@dataclass(slots=True)
class ParameterPath:
    """Where in the model the next parameter is made: the way in that names it, as language.md says.

    `assign` is the name of the running statement (empty in a `return`), `applied` counts applications within that statement.
    """

    prefix: tuple[str, ...] = ()
    loops: str = ""
    assign: str = ""
    applied: dict[str, int] = field(default_factory=dict)
    statements: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def start(self, name: str, statement: syntax.Node) -> None:
        """A statement that assigns `name` begins."""
        seen = self.statements.setdefault((name, "loop" if self.loops else ""), [])
        if statement.span.start not in seen:
            seen.append(statement.span.start)
        count = seen.index(statement.span.start) + 1
        self.assign = (name if count == 1 else f"{name}_{count}") + self.loops if name else ""
        self.applied = {}

    def apply(self, block: str) -> tuple[str, ...]:
        """The way into the next application of a block in this statement."""
        self.applied[block] = self.applied.get(block, 0) + 1
        count = self.applied[block]
        return (*self.prefix, *([self.assign] if self.assign else []), block if count == 1 else f"{block}_{count}")
