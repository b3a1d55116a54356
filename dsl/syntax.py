"""The syntax tree: one frozen dataclass a construct, each with its span. The whole language on one page.

Spans take no part in comparison, so two trees are equal when they say the same.
"""

from dataclasses import dataclass, field

from netc.dsl.source import Source, Span


@dataclass(frozen=True, slots=True)
class Node:
    """Anything that stands in the text."""

    span: Span = field(compare=False, repr=False)


# ------------------------------------------------------------------ expressions


@dataclass(frozen=True, slots=True)
class Name(Node):
    text: str


@dataclass(frozen=True, slots=True)
class Number(Node):
    """`text` is the number as it was written: 1e-3 stays 1e-3."""

    text: str

    @property
    def value(self) -> int | float:
        plain = self.text.replace("_", "")
        return int(plain) if plain.isdigit() else float(plain)


@dataclass(frozen=True, slots=True)
class Text(Node):
    value: str


@dataclass(frozen=True, slots=True)
class Leading(Node):
    """`...`: any leading dimensions."""


@dataclass(frozen=True, slots=True)
class Group(Node):
    """An expression in brackets that the user wrote."""

    value: "Expression"


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    items: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Argument(Node):
    """`value`, or `name = value`. In a tuple the name may be a pattern in quotes."""

    name: Name | Text | None
    value: "Expression"


@dataclass(frozen=True, slots=True)
class Tuple(Node):
    """`(a, b)`, `(train = 0.8, test = 0.2)`."""

    entries: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Unary(Node):
    operator: str
    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Binary(Node):
    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Choose(Node):
    """`then if condition else otherwise`."""

    then: "Expression"
    condition: "Expression"
    otherwise: "Expression"


@dataclass(frozen=True, slots=True)
class Call(Node):
    function: "Expression"
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Pipe(Node):
    """`value -> into`: `into` is a name, a way to a name, or a call that lacks its first argument."""

    value: "Expression"
    into: "Expression"


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    value: "Expression"
    name: Name


@dataclass(frozen=True, slots=True)
class Slice(Node):
    """`start:stop`, either of which may be missing."""

    start: "Expression | None"
    stop: "Expression | None"


@dataclass(frozen=True, slots=True)
class Index(Node):
    value: "Expression"
    indices: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Range(Node):
    """`start..stop`."""

    start: "Expression"
    stop: "Expression"


@dataclass(frozen=True, slots=True)
class Carry(Node):
    name: Name
    value: "Expression"


@dataclass(frozen=True, slots=True)
class Scan(Node):
    names: tuple[Name, ...]
    over: "tuple[Expression, ...] | Range"
    until: "Expression | None"
    carries: tuple[Carry, ...]
    body: tuple["Statement", ...]


Expression = (
    Name
    | Number
    | Text
    | Leading
    | Group
    | ListOf
    | Tuple
    | Unary
    | Binary
    | Choose
    | Call
    | Pipe
    | Attribute
    | Slice
    | Index
    | Scan
)


@dataclass(frozen=True, slots=True)
class TypeOf(Node):
    """`float[28, 28]`, `class(10)[time]`: `kind` is the word as written, `size` the expression of a class."""

    kind: str
    size: Expression | None
    dims: tuple[Expression, ...]


# ------------------------------------------------------------------ statements


@dataclass(frozen=True, slots=True)
class Input(Node):
    name: Name
    type: TypeOf


@dataclass(frozen=True, slots=True)
class Target(Node):
    name: Name
    type: TypeOf


@dataclass(frozen=True, slots=True)
class Output(Node):
    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class Loss(Node):
    name: Name | None
    value: Expression


@dataclass(frozen=True, slots=True)
class Metric(Node):
    name: Name | None
    value: Expression


@dataclass(frozen=True, slots=True)
class Watch(Node):
    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class Param(Node):
    name: Name
    type: TypeOf
    initial: Expression | None
    options: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class State(Node):
    name: Name
    type: TypeOf
    initial: Expression | None


@dataclass(frozen=True, slots=True)
class Update(Node):
    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class Return(Node):
    values: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Yield(Node):
    values: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class For(Node):
    name: Name
    start: Expression
    stop: Expression
    body: tuple["Statement", ...]


@dataclass(frozen=True, slots=True)
class Assign(Node):
    """`a, b = value`, or `a: type = value`."""

    names: tuple[Name, ...]
    type: TypeOf | None
    value: Expression


@dataclass(frozen=True, slots=True)
class Layer(Node):
    """`layer f = dense(64)`: one instance."""

    name: Name
    value: Expression


Statement = (
    Input | Target | Output | Loss | Metric | Watch | Param | State | Update | Return | Yield | For | Assign | Layer
)


# ------------------------------------------------------------------ items of a file


@dataclass(frozen=True, slots=True)
class Let(Node):
    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class Import(Node):
    path: Text
    alias: Name | None


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """One argument in a block's signature."""

    name: Name
    type: TypeOf | None
    default: Expression | None


@dataclass(frozen=True, slots=True)
class Block(Node):
    name: Name
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Op(Node):
    name: Name
    parameters: tuple[Name, ...]
    value: Expression


@dataclass(frozen=True, slots=True)
class Setting(Node):
    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class Data(Node):
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Train(Node):
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Model(Node):
    body: tuple[Statement, ...]


Item = Let | Import | Block | Layer | Op | Data | Train | Model


@dataclass(frozen=True, slots=True)
class File:
    """A whole `.net` text."""

    source: Source = field(compare=False, repr=False)
    items: tuple[Item, ...]
