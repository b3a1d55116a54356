"""The attributes of a value: what its operation is given beside the operands, as a frozen dataclass that the operation
declares.

Operations of one kind share a class (`Over`, `Dims`); what one operation alone has stands next to its definition. A
field that may be absent is None: it is then neither printed nor handed to the operation's rules. Knows no value and no
graph.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, make_dataclass
from functools import cache
from typing import Any

from netc.compiler.ir.types import Dim, DTypeName


class Nested:
    """A graph that is an attribute of a value (graph.Body)."""


Attribute = int | float | bool | str | tuple[Any, ...] | Nested


@dataclass(frozen=True, slots=True)
class Attributes:
    """No attributes, and the base of all others. It has no methods, so that a plug-in's operation may call its
    attributes as it likes."""


@dataclass(frozen=True, slots=True)
class Named(Attributes):
    """The name that a leaf is given from outside by."""

    name: str


@dataclass(frozen=True, slots=True)
class Given(Named):
    """A leaf that the runtime computes; `per` is "step" if it has a new value for each training step."""

    per: str | None = None


@dataclass(frozen=True, slots=True)
class Constant(Attributes):
    """The number that a constant is."""

    value: int | float | bool


@dataclass(frozen=True, slots=True)
class Over(Attributes):
    """The axes that an operation goes along, counted over all dimensions."""

    over: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Axis(Attributes):
    """The axis along which values are joined."""

    axis: int


@dataclass(frozen=True, slots=True)
class Dims(Attributes):
    """The dimensions of the result of a `reshape` or a `broadcast`, or those that an `extent` counts."""

    dims: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class ElementType(Attributes):
    """The element type of the result."""

    dtype: DTypeName


LEAVES: Mapping[str, type[Attributes]] = {
    "input": Named,
    "target": Named,
    "parameter": Named,
    "state": Named,
    "given": Given,
    "constant": Constant,
    "training": Attributes,
}


def keywords_of(attributes: Attributes) -> dict[str, Any]:
    """The attributes that are present, by name, in the order of their declaration: as an operation's rules take them,
    and as they are printed."""
    items = ((field.name, getattr(attributes, field.name)) for field in fields(attributes))
    return {name: item for name, item in items if item is not None}


@cache
def attributes_class(names: tuple[str, ...]) -> type[Attributes]:
    """A class with these fields, for operations that declare none, as those of plug-ins. Axes called `over` are read as
    any reduction's."""
    base = next((kind for kind in (Over, Dims) if fields(kind)[0].name in names), Attributes)
    own = [(name, Any) for name in names if name not in {field.name for field in fields(base)}]
    return make_dataclass("Own", own, bases=(base,), frozen=True, slots=True) if own else base
