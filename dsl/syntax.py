"""The syntax tree: one frozen dataclass for each construct, each with its span. The whole language on one page.

Spans are not compared, so two trees are equal if they have the same meaning.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from netc.dsl.source import Source, Span


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A part of the text."""

    span: Span = field(repr=False)

    def __eq__(self, other: object) -> bool:
        """Whether two trees have the same meaning. Compares in a loop, because a long chain is a deep tree."""
        pending: list[tuple[object, object]] = [(self, other)]
        while pending:
            a, b = pending.pop()
            if type(a) is not type(b):
                return False
            if isinstance(a, Node):
                pending += zip(_parts(a), _parts(b), strict=True)
            elif isinstance(a, tuple) and isinstance(b, tuple):
                if len(a) != len(b):
                    return False
                pending += zip(a, b, strict=True)
            elif a != b:
                return False
        return True

    def __hash__(self) -> int:
        return hash((type(self), *(part for part in _parts(self) if isinstance(part, str))))


def _parts(node: object) -> list[object]:
    """All fields of a node except its span."""
    return [getattr(node, name) for name in type(node).__slots__ if name != "span"]  # type: ignore[attr-defined]


def children(node: Node) -> Iterator[Node]:
    """Yields the child nodes of a node, in the order of the text."""
    for part in _parts(node):
        if isinstance(part, Node):
            yield part
        elif isinstance(part, tuple):
            yield from (item for item in part if isinstance(item, Node))


def first_part(node: Node) -> "Expression | None":
    """The part that a chain of expressions begins with, such as `a + b` in `a + b + c`; None if it is not a chain."""
    match node:
        case Binary(left=part) | Pipe(value=part) | Call(function=part) | Index(value=part) | Attribute(value=part):
            return part
    return None


def last_word(node: Node) -> str:
    """The name that an expression ends with: `Adam` of `torch.optim.Adam`, or of the text "Adam"; "" for others."""
    match node:
        case Name(text=text) | Text(value=text) | Attribute(name=Name(text=text)):
            return text
    return ""


def steps_of(node: "Expression") -> list[str]:
    """The names of the steps that a value is piped through, the last first."""
    steps: list[str] = []
    while isinstance(node, Pipe):
        steps.append(last_word(node.into.function if isinstance(node.into, Call) else node.into))
        node = node.value
    return steps


# ------------------------------------------------------------------ expressions


@dataclass(frozen=True, slots=True, eq=False)
class Name(Node):
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Number(Node):
    """`text` is the number as it was written: 1e-3 stays 1e-3."""

    text: str

    @property
    def value(self) -> int | float:
        plain = self.text.replace("_", "")
        return int(plain.lstrip("0") or "0") if plain.isdigit() else float(plain)


@dataclass(frozen=True, slots=True, eq=False)
class Text(Node):
    value: str


@dataclass(frozen=True, slots=True, eq=False)
class Leading(Node):
    """`...`: any leading dimensions."""


@dataclass(frozen=True, slots=True, eq=False)
class Group(Node):
    """An expression in brackets, as the user wrote it."""

    value: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class ListOf(Node):
    items: tuple["Expression", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Argument(Node):
    """`value`, or `name = value`. In a tuple the name may be a pattern in quotes."""

    name: Name | Text | None
    value: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Tuple(Node):
    """`(a, b)`, `(train = 0.8, test = 0.2)`."""

    entries: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Unary(Node):
    operator: str
    operand: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Node):
    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Choose(Node):
    """`then if condition else otherwise`."""

    then: "Expression"
    condition: "Expression"
    otherwise: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Call(Node):
    function: "Expression"
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Pipe(Node):
    """`value -> into`: `into` is a name, a path to a name, or a call that lacks its first argument."""

    value: "Expression"
    into: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Attribute(Node):
    value: "Expression"
    name: Name


@dataclass(frozen=True, slots=True, eq=False)
class Slice(Node):
    """`start:stop`, either of which may be missing."""

    start: "Expression | None"
    stop: "Expression | None"


@dataclass(frozen=True, slots=True, eq=False)
class Index(Node):
    value: "Expression"
    indices: tuple["Expression", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Range(Node):
    """`start..stop`."""

    start: "Expression"
    stop: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Carry(Node):
    name: Name
    value: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
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


@dataclass(frozen=True, slots=True, eq=False)
class TypeOf(Node):
    """`float[28, 28]`, `class(10)[time]`: `kind` is the word as written, `size` the expression of a class."""

    kind: str
    size: Expression | None
    dims: tuple[Expression, ...]


# ------------------------------------------------------------------ statements


@dataclass(frozen=True, slots=True, eq=False)
class Input(Node):
    name: Name
    type: TypeOf


@dataclass(frozen=True, slots=True, eq=False)
class Target(Node):
    name: Name
    type: TypeOf


@dataclass(frozen=True, slots=True, eq=False)
class Output(Node):
    name: Name
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Loss(Node):
    name: Name | None
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Metric(Node):
    name: Name | None
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Watch(Node):
    name: Name
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Param(Node):
    name: Name
    type: TypeOf
    initial: Expression | None
    options: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, eq=False)
class State(Node):
    name: Name
    type: TypeOf
    initial: Expression | None


@dataclass(frozen=True, slots=True, eq=False)
class Update(Node):
    name: Name
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Return(Node):
    values: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Yield(Node):
    values: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, eq=False)
class For(Node):
    name: Name
    start: Expression
    stop: Expression
    body: tuple["Statement", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Assign(Node):
    """`a, b = value`, or `a: type = value`."""

    names: tuple[Name, ...]
    type: TypeOf | None
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Layer(Node):
    """`layer f = dense(64)`: one instance."""

    name: Name
    value: Expression


Statement = (
    Input | Target | Output | Loss | Metric | Watch | Param | State | Update | Return | Yield | For | Assign | Layer
)


# ------------------------------------------------------------------ items of a file


@dataclass(frozen=True, slots=True, eq=False)
class Let(Node):
    name: Name
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Import(Node):
    path: Text
    alias: Name | None


@dataclass(frozen=True, slots=True, eq=False)
class Parameter(Node):
    """One argument in a block's signature."""

    name: Name
    type: TypeOf | None
    default: Expression | None


@dataclass(frozen=True, slots=True, eq=False)
class Block(Node):
    name: Name
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Op(Node):
    name: Name
    parameters: tuple[Name, ...]
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Setting(Node):
    name: Name
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Data(Node):
    settings: tuple[Setting, ...]

    @property
    def fields(self) -> dict[str, "Expression"]:
        """The fields of a sample, as they are written: all settings but those of the file and its rows."""
        return {
            setting.name.text: setting.value
            for setting in self.settings
            if setting.name.text not in ("source", "split", "series")
        }


@dataclass(frozen=True, slots=True, eq=False)
class Train(Node):
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StudySetting(Node):
    """`lr = log(1e-4, 1e-1)`, `momentum = uniform(0.5, 0.99) if optimizer == sgd`: a setting of a study, or one that
    varies in it, where `condition` holds."""

    name: Name
    value: Expression
    condition: Expression | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Study(Node):
    settings: tuple[StudySetting, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Model(Node):
    body: tuple[Statement, ...]


Item = Let | Import | Block | Layer | Op | Data | Train | Study | Model


@dataclass(frozen=True, slots=True)
class File:
    """A whole `.net` text."""

    source: Source = field(compare=False, repr=False)
    items: tuple[Item, ...]
