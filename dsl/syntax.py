"""The syntax tree: one frozen Struct for each construct, each with its span. The whole language on one page.

Spans are not compared, so two trees are equal if they have the same meaning.
"""

from msgspec import Struct

from netc.dsl.node import Node
from netc.dsl.source import Source

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
