"""The items that a name can stand for during elaboration, and the scopes where names are looked up."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct, field

from netc.compiler.ir.value import Operation, Value
from netc.dsl import syntax
from netc.dsl.node import Node
from netc.dsl.source import Span

Constant = int | float | bool | str | tuple[Any, ...]


class Results(Struct, frozen=True):
    """Several results of one application; where a single item is needed, it is the first."""

    items: tuple["Item", ...]


class Weighted(Struct, frozen=True):
    """`weighted(e, w)`: the sum of `value` over all samples is divided by the sum of `weight`; both have the same
    shape."""

    value: Value
    weight: Value


class Applied(Struct, frozen=True):
    """An application of an operation or block, of the library (`is_builtin`) or of the file.

    `spans` are those of its operands, `span` its own.
    """

    name: str
    is_builtin: bool
    operands: tuple[Value, ...]
    spans: tuple[Span, ...]
    result: Value
    span: Span


class Assigned(Struct, frozen=True):
    """A name at a span of the text, and the value that it stands for.

    Its statement added the values of the graph from number `first` up to `end`, and the `parameters`.
    """

    span: Span
    value: Value
    first: int
    end: int
    parameters: tuple[str, ...]


class BlockFunction(Struct, frozen=True):
    """A block, and the arguments that it has so far: `lstm(64)` lacks only its first.

    `others` are blocks of the same name whose first argument has another rank.
    """

    block: syntax.Block
    scope: "Scope"
    others: tuple[syntax.Block, ...] = ()
    arguments: tuple[syntax.Argument, ...] = ()
    arguments_scope: "Scope | None" = None


class LayerInstance(Struct):
    """`layer f = dense(64)`: a block whose parameters are shared by all its applications.

    The first application makes `parameters`, by their names in the layer: `W`, or `dense.W` in a block inside.
    """

    name: str
    function: BlockFunction
    parameters: dict[str, Value] = field(default_factory=dict)


class UserOperation(Struct, frozen=True):
    """`op swish(x) = x * sigmoid(x)`."""

    op: syntax.Op
    scope: "Scope"


class Namespace(Struct, frozen=True):
    """`import "blocks.net" as b`."""

    scope: "Scope"


class Length(Struct, frozen=True):
    """A varying dimension's name: an axis, or how long each sample is."""

    dim: str

    def __str__(self) -> str:
        return self.dim


class Broken(Struct, frozen=True):
    """Stands for a name whose statement was at fault, so that its uses give no second message."""


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


class Scope(Struct):
    """Names, what they stand for, and the spans where they were defined; other names are looked up in the scope
    around.

    `later` has the spans of names that later statements define. `unknown` are the names without a meaning that were
    reported in a model; it is None elsewhere.
    """

    around: "Scope | None" = None
    names: dict[str, Item] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    later: dict[str, Span] = field(default_factory=dict)
    unknown: set[str] | None = None

    def find(self, name: str) -> Item | None:
        """The item of the innermost definition, or None if there is none."""
        scope: Scope | None = self
        while scope is not None:
            item = scope.bound_here(name)
            if item is not None:
                return item
            scope = scope.around
        return None

    def lengths(self) -> dict[str, str]:
        """The varying dimensions by their names in this scope: in a block, the names that its parameters declare."""
        lengths: dict[str, str] = {}
        scope: Scope | None = self
        while scope is not None:
            for name, item in scope.names.items():
                if isinstance(item, Length):
                    lengths.setdefault(name, item.dim)
            scope = scope.around
        return lengths

    def reported(self) -> set[str] | None:
        """The unknown names of the model that this scope belongs to."""
        scope: Scope | None = self
        while scope is not None and scope.unknown is None:
            scope = scope.around
        return None if scope is None else scope.unknown

    def bound_here(self, name: str) -> Item | None:
        """The item that is defined in this scope itself."""
        return self.names.get(name)

    def set(self, name: str, item: Item, span: Span) -> None:
        """Defines a name here, or gives it a new meaning."""
        self.names[name], self.spans[name] = item, span

    def defined_later(self, name: str) -> Span | None:
        """The span where a later statement defines a name."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.later:
                return scope.later[name]
            scope = scope.around
        return None

    def all_names(self) -> Iterator[str]:
        """The names of this scope and of all scopes around it."""
        yield from self.names
        if self.around is not None:
            yield from self.around.all_names()


class ParameterPath(Struct):
    """The path of blocks and statements that names the next parameter; language.md has the rules.

    `assign` is the name that the running statement assigns (empty in a `return`), `loops` the turns of the loops around
    it, such as `[0][2]`. `applied` counts a statement's applications by block, `statements` has the spans of the
    statements that assign a name.
    """

    prefix: tuple[str, ...] = ()
    loops: str = ""
    assign: str = ""
    applied: dict[str, int] = field(default_factory=dict)
    statements: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def start(self, name: str, statement: Node) -> None:
        """Begins a statement that assigns `name`."""
        seen = self.statements.setdefault((name, "loop" if self.loops else ""), [])
        if statement.span.start not in seen:
            seen.append(statement.span.start)
        count = seen.index(statement.span.start) + 1
        self.assign = (name if count == 1 else f"{name}_{count}") + self.loops if name else ""
        self.applied = {}

    def apply(self, block: str) -> tuple[str, ...]:
        """The path into the next application of a block in this statement."""
        self.applied[block] = self.applied.get(block, 0) + 1
        count = self.applied[block]
        return (*self.prefix, *([self.assign] if self.assign else []), block if count == 1 else f"{block}_{count}")
