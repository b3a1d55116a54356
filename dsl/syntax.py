"""The syntax tree: one frozen Struct for each construct, each with its span. The whole language on one page.

Spans are not compared, so two trees are equal if they have the same meaning.
"""

from collections.abc import Iterator

from msgspec import Struct

from netc.dsl.source import Source, Span


class Node(Struct, frozen=True):
    """A part of the text."""

    span: Span

    def __eq__(self, other: object) -> bool:
        """Whether two trees have the same meaning. Compares in a loop, because a long chain is a deep tree."""
        pending: list[tuple[object, object]] = [(self, other)]
        while pending:
            a, b = pending.pop()
            if type(a) is not type(b):
                return False
            if isinstance(a, Node) and isinstance(b, Node):
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

    def __repr__(self) -> str:
        """The meaning alone, without spans."""
        return f"{type(self).__name__}({', '.join(map(repr, _parts(self)))})"


def _parts(node: Node) -> list[object]:
    """All fields of a node except its span."""
    return [getattr(node, name) for name in type(node).__struct_fields__ if name != "span"]


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


class Name(Node, frozen=True):
    text: str


class Number(Node, frozen=True):
    """`text` is the number as it was written: 1e-3 stays 1e-3."""

    text: str

    @property
    def value(self) -> int | float:
        plain = self.text.replace("_", "")
        return int(plain.lstrip("0") or "0") if plain.isdigit() else float(plain)


class Text(Node, frozen=True):
    value: str


class Leading(Node, frozen=True):
    """`...`: any leading dimensions."""


class Group(Node, frozen=True):
    """An expression in brackets, as the user wrote it."""

    value: "Expression"


class ListOf(Node, frozen=True):
    items: tuple["Expression", ...]


class Argument(Node, frozen=True):
    """`value`, or `name = value`. In a tuple the name may be a pattern in quotes."""

    name: Name | Text | None
    value: "Expression"


class Tuple(Node, frozen=True):
    """`(a, b)`, `(train = 0.8, test = 0.2)`."""

    entries: tuple[Argument, ...]


class Unary(Node, frozen=True):
    operator: str
    operand: "Expression"


class Binary(Node, frozen=True):
    operator: str
    left: "Expression"
    right: "Expression"


class Choose(Node, frozen=True):
    """`then if condition else otherwise`."""

    then: "Expression"
    condition: "Expression"
    otherwise: "Expression"


class Call(Node, frozen=True):
    function: "Expression"
    arguments: tuple[Argument, ...]


class Pipe(Node, frozen=True):
    """`value -> into`: `into` is a name, a path to a name, or a call that lacks its first argument."""

    value: "Expression"
    into: "Expression"


class Attribute(Node, frozen=True):
    value: "Expression"
    name: Name


class Slice(Node, frozen=True):
    """`start:stop`, either of which may be missing."""

    start: "Expression | None"
    stop: "Expression | None"


class Index(Node, frozen=True):
    value: "Expression"
    indices: tuple["Expression", ...]


class Range(Node, frozen=True):
    """`start..stop`."""

    start: "Expression"
    stop: "Expression"


class Carry(Node, frozen=True):
    name: Name
    value: "Expression"


class Scan(Node, frozen=True):
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


class TypeOf(Node, frozen=True):
    """`float[28, 28]`, `class(10)[time]`: `kind` is the word as written, `size` the expression of a class."""

    kind: str
    size: Expression | None
    dims: tuple[Expression, ...]


# ------------------------------------------------------------------ statements


class Input(Node, frozen=True):
    name: Name
    type: TypeOf


class Target(Node, frozen=True):
    name: Name
    type: TypeOf


class Output(Node, frozen=True):
    name: Name
    value: Expression


class Loss(Node, frozen=True):
    name: Name | None
    value: Expression


class Metric(Node, frozen=True):
    name: Name | None
    value: Expression


class Watch(Node, frozen=True):
    name: Name
    value: Expression


class Param(Node, frozen=True):
    name: Name
    type: TypeOf
    initial: Expression | None
    options: tuple[Argument, ...]


class State(Node, frozen=True):
    name: Name
    type: TypeOf
    initial: Expression | None


class Update(Node, frozen=True):
    name: Name
    value: Expression


class Return(Node, frozen=True):
    values: tuple[Expression, ...]


class Yield(Node, frozen=True):
    values: tuple[Expression, ...]


class For(Node, frozen=True):
    name: Name
    start: Expression
    stop: Expression
    body: tuple["Statement", ...]


class Assign(Node, frozen=True):
    """`a, b = value`, or `a: type = value`."""

    names: tuple[Name, ...]
    type: TypeOf | None
    value: Expression


class Layer(Node, frozen=True):
    """`layer f = dense(64)`: one instance."""

    name: Name
    value: Expression


Statement = (
    Input | Target | Output | Loss | Metric | Watch | Param | State | Update | Return | Yield | For | Assign | Layer
)


# ------------------------------------------------------------------ items of a file


class Let(Node, frozen=True):
    name: Name
    value: Expression


class Import(Node, frozen=True):
    path: Text
    alias: Name | None


class Parameter(Node, frozen=True):
    """One argument in a block's signature."""

    name: Name
    type: TypeOf | None
    default: Expression | None


class Block(Node, frozen=True):
    name: Name
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]


class Op(Node, frozen=True):
    name: Name
    parameters: tuple[Name, ...]
    value: Expression


class Setting(Node, frozen=True):
    name: Name
    value: Expression


class Data(Node, frozen=True):
    settings: tuple[Setting, ...]

    @property
    def fields(self) -> dict[str, "Expression"]:
        """The fields of a sample, as they are written: all settings but those of the file and its rows."""
        return {
            setting.name.text: setting.value
            for setting in self.settings
            if setting.name.text not in ("source", "split", "series")
        }


class Train(Node, frozen=True):
    settings: tuple[Setting, ...]


class StudySetting(Node, frozen=True):
    """`lr = log(1e-4, 1e-1)`, `momentum = uniform(0.5, 0.99) if optimizer == sgd`: a setting of a study, or one that
    varies in it, where `condition` holds."""

    name: Name
    value: Expression
    condition: Expression | None = None


class Study(Node, frozen=True):
    settings: tuple[StudySetting, ...]


class Model(Node, frozen=True):
    body: tuple[Statement, ...]


Item = Let | Import | Block | Layer | Op | Data | Train | Study | Model


class File(Struct, frozen=True):
    """A whole `.net` text. Sources are not compared."""

    source: Source
    items: tuple[Item, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, File) and self.items == other.items

    def __hash__(self) -> int:
        return hash(self.items)
